// The wall: networks × expressions, each drawn when it comes into view; folds on demand.
"use strict";

Ekman.ready.then((common) => {
  const at = (id) => document.getElementById(id);
  const { shape, cells } = common;
  Ekman.options(at("explainer"), common.explainers.map((name) => [name, common.titles[name]]));
  Ekman.options(at("colours"), Object.keys(common.colours).map((name) => [name, Ekman.COLOUR_NAMES[name]]));

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "300px" });

  async function draw(cell) {
    const pixels = await Ekman.heatmap(cell.dataset.key, common);
    const [heat, lines] = cell.querySelectorAll("canvas");
    Ekman.colour(pixels, common.colours[at("colours").value], heat.getContext("2d"));
    heat.style.opacity = at("opacity").value / 100;
    const context = lines.getContext("2d");
    context.clearRect(0, 0, lines.width, lines.height);
    const mask = common.masks[cell.dataset.expression];
    if (mask && at("outline").checked) {
      // As wide on the screen as it looks well, however small the cell is.
      const width = (1.3 * lines.width) / (lines.clientWidth || lines.width);
      Ekman.drawOutline(context, (place) => mask[place], shape, 1, { width, colour: "white" });
    }
    cell.dataset.drawn = "yes";
  }

  function makeCell(network, fold, expression) {
    const parts = { explainer: at("explainer").value, network, fold, expression };
    const key = Ekman.keyOf(parts, common);
    const column = document.createElement("td");
    if (!(key in cells)) {
      column.textContent = "none";
      column.className = "absent";
      column.title = "There is no such heatmap";
      return column;
    }
    const link = document.createElement("a");
    link.className = "cell";
    link.href = `explorer.html#${new URLSearchParams(Object.entries(parts).filter(([, value]) => value))}`;
    link.dataset.key = key;
    link.dataset.expression = expression;
    const face = document.createElement("div");
    face.className = "face";
    const image = new Image(shape[1], shape[0]);
    image.src = "assets/face.webp";
    image.alt = "";
    image.loading = "lazy";
    const [heat, lines] = [document.createElement("canvas"), document.createElement("canvas")];
    for (const canvas of [heat, lines]) [canvas.height, canvas.width] = shape;
    const { iou, faces, otsu } = cells[key];
    const who = [network ?? "all networks", fold].filter(Boolean).join(", ");
    const score = !(expression in common.masks) ? "no mask" : iou === null ? "nothing marked" : iou.toFixed(3);
    heat.setAttribute("role", "img");
    heat.setAttribute("aria-label", `Heatmap of ${who}, ${common.expressions[expression]}: IoU ${score}`);
    lines.setAttribute("aria-hidden", "true");
    face.append(image, heat, lines);
    const text = document.createElement("span");
    text.textContent = score;
    link.title = `${who}, ${common.expressions[expression]}: Otsu ${otsu}` + (faces === null ? "" : `, ${faces} faces`);
    link.append(face, text);
    column.append(link);
    watcher.observe(link);
    return column;
  }

  function makeRow(network, fold) {
    const row = document.createElement("tr");
    if (fold) { row.className = "fold"; row.dataset.of = network; }
    const head = document.createElement("th");
    head.scope = "row";
    head.append(fold ?? network ?? "all networks");
    row.append(head, ...Object.keys(common.expressions).map((name) => makeCell(network, fold, name)));
    if (network && !fold) {
      row.id = network;
      if (common.folds.length) head.append(makeFoldButton(network, row));
    }
    return row;
  }

  function makeFoldButton(network, row) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", `Folds of ${network}`);
    button.textContent = "▸ folds";
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      button.textContent = open ? "▸ folds" : "▾ folds";
      if (open) document.querySelectorAll(`tr[data-of="${CSS.escape(network)}"]`).forEach((line) => line.remove());
      else row.after(...common.folds.map((fold) => makeRow(network, fold)));
    });
    return button;
  }

  function build() {
    watcher.disconnect();
    const head = document.createElement("thead");
    const titles = head.insertRow();
    titles.append(document.createElement("td"));
    for (const name of Object.values(common.expressions)) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      titles.append(cell);
    }
    const body = document.createElement("tbody");
    body.append(...[null, ...common.networks].map((network) => makeRow(network, null)));
    at("wall").replaceChildren(head, body);
  }

  const drawn = () => document.querySelectorAll(".cell[data-drawn]");
  at("explainer").addEventListener("change", build);
  at("colours").addEventListener("change", () => drawn().forEach(draw));
  at("outline").addEventListener("change", () => drawn().forEach(draw));
  at("opacity").addEventListener("input", () => {
    for (const cell of drawn()) cell.querySelector("canvas").style.opacity = at("opacity").value / 100;
  });
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  build();
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
});
