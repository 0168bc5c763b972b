// Explained faces: superpixels, their weights and standard errors, drawn when they come into view.
"use strict";

Ekman.received = new Map();
Ekman.faces = (model, entries) => Ekman.received.set(model, entries);

Ekman.ready.then((common) => {
  const at = (id) => document.getElementById(id);
  const SIDE = 224;
  Ekman.options(at("predicted"), [["", "all expressions"], ...Object.values(common.expressions).map((name) => [name, name])]);

  const watcher = new IntersectionObserver((found) => {
    for (const entry of found) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      paint(entry.target);
    }
  }, { rootMargin: "300px" });
  const entryOf = new WeakMap();

  async function segmentsOf(entry) {
    const bytes = await Ekman.unpack(entry.segments, entry.size[1] * (entry.wide ? 2 : 1));
    return entry.wide ? new Uint16Array(bytes.buffer) : bytes;
  }

  async function paint(article) {
    const entry = entryOf.get(article);
    const segments = await segmentsOf(entry);
    const [weights, borders] = article.querySelectorAll("canvas");
    const [rows, columns] = entry.size;
    weights.height = rows;
    weights.width = columns;
    const limit = Math.max(...entry.weights.map(Math.abs), 1e-12);
    const levels = entry.weights.map((weight) => Math.round(127.5 + (127.5 * weight) / limit));
    Ekman.colour(Uint8Array.from(segments, (label) => levels[label]), common.diverging, weights.getContext("2d"));
    weights.style.opacity = at("opacity").value / 100;
    const pen = borders.getContext("2d");
    const [right, down] = [SIDE / columns, SIDE / rows];
    pen.beginPath();
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const here = segments[row * columns + column];
        if (column + 1 < columns && segments[row * columns + column + 1] !== here) {
          pen.moveTo((column + 1) * right, row * down);
          pen.lineTo((column + 1) * right, (row + 1) * down);
        }
        if (row + 1 < rows && segments[(row + 1) * columns + column] !== here) {
          pen.moveTo(column * right, (row + 1) * down);
          pen.lineTo((column + 1) * right, (row + 1) * down);
        }
      }
    }
    pen.strokeStyle = "rgba(255, 255, 255, .8)";
    pen.stroke();
  }

  function square(entry, overlays, alt) {
    const box = document.createElement("div");
    box.className = "square";
    const image = new Image(SIDE, SIDE);
    image.src = entry.image;
    image.alt = alt;
    image.loading = "lazy";
    box.append(image);
    for (let place = 0; place < overlays; place++) {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = SIDE;
      canvas.setAttribute("aria-hidden", "true");
      box.append(canvas);
    }
    return box;
  }

  // Weights in order, with ± one standard error.
  function chart(entry) {
    const [wide, high, left] = [360, 96, 34];
    const order = entry.weights.map((_, place) => place).sort((a, b) => entry.weights[b] - entry.weights[a]);
    const low = Math.min(0, ...order.map((place) => entry.weights[place] - entry.errors[place]));
    const top = Math.max(0, ...order.map((place) => entry.weights[place] + entry.errors[place]), low + 1e-12);
    const y = (value) => 6 + ((top - value) / (top - low)) * (high - 12);
    const make = (kind, values, text) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", kind);
      for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
      if (text !== undefined) node.textContent = text;
      return node;
    };
    const best = order.slice(0, 3).map((place) => `${entry.weights[place].toFixed(3)} ± ${entry.errors[place].toFixed(3)}`);
    const drawing = make("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img",
      "aria-label": `Weights of ${order.length} superpixels in order; the largest are ${best.join(", ")}.` });
    drawing.append(make("line", { x1: left, x2: wide, y1: y(0), y2: y(0), class: "axis" }));
    for (const value of [top, low]) drawing.append(make("text", { x: 0, y: Math.min(y(value) + 4, high - 2) }, value.toFixed(2)));
    order.forEach((place, rank) => {
      const x = left + 6 + (rank / Math.max(order.length - 1, 1)) * (wide - left - 12);
      const [weight, error] = [entry.weights[place], entry.errors[place]];
      drawing.append(make("line", { x1: x, x2: x, y1: y(weight + error), y2: y(weight - error), class: "bar" }));
      drawing.append(make("circle", { cx: x, cy: y(weight), r: 2.4, class: weight > 0 ? "for" : "against" }));
    });
    return drawing;
  }

  function makeCard(entry) {
    const card = document.createElement("article");
    const title = document.createElement("h2");
    title.textContent = entry.id;
    const pair = document.createElement("div");
    pair.className = "pair";
    pair.append(square(entry, 0, `Face ${entry.id}, shown: ${entry.shown}`),
      square(entry, 2, `The same face with its superpixels coloured by weight for ${entry.predicted}`));
    const facts = document.createElement("p");
    const right = entry.shown === entry.predicted;
    const verdict = document.createElement("span");
    verdict.className = right ? "" : "wrong";
    verdict.textContent = `Shown ${entry.shown}, predicted ${entry.predicted}${right ? "" : " ✗ wrong"}`;
    facts.append(verdict, ` (p = ${entry.probability.toFixed(2)}); R² = ${entry.r2 === null ? "undefined" : entry.r2.toFixed(2)}`);
    card.append(title, pair, facts, chart(entry));
    entryOf.set(card, entry);
    watcher.observe(card);
    return card;
  }

  async function build() {
    const model = at("model").value;
    if (!Ekman.received.has(model)) {
      await Ekman.loadScript(at("model").selectedOptions[0].dataset.script);
    }
    const all = Ekman.received.get(model);
    const entries = all.filter((entry) => (!at("predicted").value || entry.predicted === at("predicted").value)
      && (!at("wrong").checked || entry.shown !== entry.predicted));
    watcher.disconnect();
    at("count").textContent = `${entries.length} of ${all.length} faces`;
    at("faces").replaceChildren(...entries.map(makeCard));
  }

  for (const id of ["model", "predicted", "wrong"]) at(id).addEventListener("change", build);
  at("opacity").addEventListener("input", () => {
    for (const box of document.querySelectorAll(".square canvas:nth-of-type(1)")) box.style.opacity = at("opacity").value / 100;
  });
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  build();
});
