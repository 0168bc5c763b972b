// The explorer: one heatmap or two, the threshold, and what follows from it.
"use strict";

Ekman.ready.then((common) => {
  const at = (id) => document.getElementById(id);
  const METRICS = ["iou", "f1_score", "precision", "recall", "marked"];
  const SCALE = 3;
  const sides = { a: {}, b: {} };
  const difference = {};
  const state = { level: 0, ready: false };

  const say = (name) => common.titles[name];
  const partsOf = (side) =>
    Object.fromEntries(Array.from(at(`choose-${side}`).querySelectorAll("select"), (field) => [field.dataset.part, field.value]));
  const comparing = () => at("compare").checked;
  const shown = () => (comparing() ? ["a", "b"] : ["a"]);
  const nameOf = (parts) =>
    [parts.network || "all networks", parts.fold, common.expressions[parts.expression].toLowerCase(), say(parts.explainer)]
      .filter(Boolean).join(", ");

  function fill(side, chosen) {
    const fields = Object.fromEntries(
      Array.from(at(`choose-${side}`).querySelectorAll("select"), (field) => [field.dataset.part, field]));
    Ekman.options(fields.explainer, common.explainers.map((name) => [name, say(name)]), chosen.explainer);
    Ekman.options(fields.network, [["", "all networks"], ...common.networks.map((name) => [name, name])], chosen.network);
    Ekman.options(fields.fold, [["", "all folds"], ...common.folds.map((name) => [name, name])], chosen.fold);
    Ekman.options(fields.expression, Object.entries(common.expressions), chosen.expression);
  }

  // The fold of "all networks" does not exist: there is only their mean.
  function settle(side) {
    const parts = partsOf(side);
    const fold = at(`choose-${side}`).querySelector('[data-part="fold"]');
    if (!parts.network) fold.value = "";
    fold.disabled = !parts.network || !common.folds.length;
  }

  function context(id, kind) {
    return at(`panel-${id}`).querySelector(`canvas.${kind}`).getContext("2d");
  }

  const maskName = () => at("mask").value || partsOf("a").expression;
  // Each heatmap has its own expression's mask, unless the reader has chosen one for both.
  const maskFor = (side) => common.masks[at("mask").value || partsOf(side).expression];

  async function load() {
    const turn = (state.turn = (state.turn ?? 0) + 1);
    for (const side of shown()) {
      settle(side);
      const key = Ekman.keyOf(partsOf(side), common);
      const pixels = await Ekman.heatmap(key, common);
      if (turn !== state.turn) return;
      sides[side] = { key, pixels, otsu: pixels ? common.cells[key].otsu : null };
    }
    count();
    if (!state.ready || state.follow) state.level = sides.a.otsu ?? 128;
    state.ready = true;
    state.follow = false;
    at("level").value = state.level;
    draw();
  }

  function count() {
    for (const side of shown()) {
      const own = sides[side];
      if (!own.pixels) continue;
      own.counts = Ekman.countsOf(own.pixels, maskFor(side));
      own.area = Ekman.areaMatched(own.counts);
    }
    Ekman.options(at("marks"), [[String(sides.a.otsu), "Otsu"], [String(sides.a.area), "area-matched"]]);
  }

  function draw() {
    at("explorer").classList.toggle("comparing", comparing());
    at("choose-b").hidden = !comparing();
    at("panel-b").hidden = at("panel-d").hidden = !comparing();
    for (const side of shown()) drawPanel(side);
    if (comparing()) drawDifference();
    drawLevel();
    drawRegions();
    remember();
  }

  function drawPanel(side) {
    const { pixels, key } = sides[side];
    const heat = context(side, "heat");
    heat.clearRect(0, 0, heat.canvas.width, heat.canvas.height);
    const caption = at(`panel-${side}`).querySelector(".caption");
    if (!pixels) {
      caption.textContent = `${nameOf(partsOf(side))}: there is no such heatmap (no face was predicted so)`;
      heat.canvas.setAttribute("aria-label", caption.textContent);
      return;
    }
    Ekman.colour(pixels, common.colours[at("colours").value], heat);
    heat.canvas.style.opacity = at("opacity").value / 100;
    const { faces } = common.cells[key];
    caption.textContent = `${side.toUpperCase()}: ${nameOf(partsOf(side))}` + (faces === null ? "" : ` (${faces} faces)`);
    const top = Ekman.regionsOf(pixels, common.regions).sort((a, b) => b.share - a.share).slice(0, 3);
    heat.canvas.setAttribute("aria-label",
      `Heatmap ${caption.textContent}. Most of it lies in: ${top.map((region) => `${region.name} (${(100 * region.share).toFixed(0)} %)`).join(", ")}.`);
  }

  function drawDifference() {
    const [a, b] = [sides.a.pixels, sides.b.pixels];
    const heat = context("d", "heat");
    heat.clearRect(0, 0, heat.canvas.width, heat.canvas.height);
    const caption = at("panel-d").querySelector(".caption");
    at("likeness").textContent = "";
    if (!a || !b) { caption.textContent = "Difference A − B: one of them is missing"; return; }
    difference.pixels = a.map((value, place) => Math.round((value - b[place] + 255) / 2));
    Ekman.colour(difference.pixels, common.diverging, heat);
    heat.canvas.style.opacity = at("opacity").value / 100;
    const r = Ekman.correlation(a, b);
    caption.textContent = "Difference A − B: red where A is higher, blue where B is";
    heat.canvas.setAttribute("aria-label", caption.textContent);
    at("likeness").textContent = r === null ? "" : `Pearson's r of A and B: ${r.toFixed(4)} (distance ${(1 - r).toFixed(4)}).`;
  }

  function drawLines(side) {
    const lines = context(side, "lines");
    lines.clearRect(0, 0, lines.canvas.width, lines.canvas.height);
    const { pixels } = side === "d" ? difference : sides[side];
    if (!pixels) return;
    const mask = maskFor(side === "d" ? "a" : side);
    const level = state.level;
    if (at("marked").checked && side !== "d") {
      Ekman.drawOutline(lines, (place) => pixels[place] > level, common.shape, SCALE, { width: 3, colour: "white" });
    }
    if (mask && at("outline").checked) {
      Ekman.drawOutline(lines, (place) => mask[place], common.shape, SCALE,
        { width: 3, colour: side === "d" ? "black" : "#ffdd33", rim: side === "d" ? "white" : undefined, dashed: true });
    }
  }

  function cell(row, value, digits) {
    const column = row.insertCell();
    column.className = "number";
    if (value === null) { column.textContent = "–"; return; }
    const data = document.createElement("data");
    data.value = String(value);
    data.textContent = digits === "%" ? `${(100 * value).toFixed(1)} %` : value.toFixed(digits);
    column.append(data);
  }

  function drawLevel() {
    at("level-text").textContent = `${state.level} of 255`;
    const panels = comparing() ? ["a", "b", "d"] : ["a"];
    panels.forEach(drawLines);
    const body = document.createElement("tbody");
    for (const side of shown()) {
      const { pixels, counts, otsu, area } = sides[side];
      if (!pixels) continue;
      const name = comparing() ? `${side.toUpperCase()}, ` : "";
      for (const [id, text, level] of [["now", `${name}threshold ${state.level}`, state.level],
        ["otsu", `${name}Otsu (${otsu})`, otsu], ["area", `${name}area-matched (${area})`, area]]) {
        const row = body.insertRow();
        row.dataset.row = `${side}-${id}`;
        const head = document.createElement("th");
        head.scope = "row";
        head.textContent = text;
        row.append(head);
        const scores = Ekman.scoresAt(level, counts);
        for (const metric of METRICS) cell(row, scores[metric], metric === "marked" ? "%" : 4);
      }
    }
    at("scores").tBodies[0].replaceWith(body);
    at("to-otsu").textContent = `Otsu (${sides.a.otsu ?? "–"})`;
    at("to-area").textContent = `Area-matched (${sides.a.area ?? "–"})`;
    at("level").setAttribute("aria-valuetext", spoken());
    drawCurve();
  }

  function spoken() {
    if (!sides.a.pixels) return String(state.level);
    const { iou, f1_score: f1 } = Ekman.scoresAt(state.level, sides.a.counts);
    if (iou === null) return `${state.level}, no mask`;
    return `${state.level}, IoU ${iou.toFixed(3)}, F1 ${f1.toFixed(3)}`;
  }

  function drawCurve() {
    const canvas = at("curve");
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const [ink, soft] = [style.getPropertyValue("--ink"), style.getPropertyValue("--soft")];
    // As many pixels as the screen has, so that letters keep their size.
    const dense = window.devicePixelRatio || 1;
    const [wide, high] = [canvas.clientWidth || 640, canvas.clientHeight || 220];
    [canvas.width, canvas.height] = [Math.round(wide * dense), Math.round(high * dense)];
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    const box = { left: 40, right: wide - 96, top: 12, bottom: high - 30 };
    const x = (level) => box.left + (level / 255) * (box.right - box.left);
    const y = (score) => box.bottom - score * (box.bottom - box.top);
    pen.font = "14px system-ui, sans-serif";
    pen.fillStyle = soft;
    pen.strokeStyle = soft;
    pen.lineWidth = 1;
    for (const score of [0, 0.5, 1]) {
      pen.globalAlpha = 0.35;
      line(pen, [[box.left, y(score)], [box.right, y(score)]]);
      pen.globalAlpha = 1;
      pen.fillText(score.toFixed(1), 8, y(score) + 5);
    }
    for (const level of [0, 128, 255]) pen.fillText(String(level), x(level) - 8, high - 10);
    if (!sides.a.pixels) return;
    const { counts, otsu, area } = sides.a;
    const levels = Array.from({ length: 256 }, (_, level) => level);
    const looks = { iou: ["#0072b2", []], precision: ["#d55e00", [7, 4]], recall: ["#009e73", [2, 3]] };
    if (Theme.isDark()) looks.iou[0] = "#56b4e9";
    Object.entries(looks).forEach(([metric, [colour, dash]], place) => {
      pen.strokeStyle = pen.fillStyle = colour;
      pen.lineWidth = 2;
      pen.setLineDash(dash);
      const points = levels.map((level) => [level, Ekman.scoresAt(level, counts)[metric]]).filter((point) => point[1] !== null);
      line(pen, points.map(([level, score]) => [x(level), y(score)]));
      line(pen, [[box.right + 8, 26 + 24 * place], [box.right + 26, 26 + 24 * place]]);
      pen.fillText(metric === "iou" ? "IoU" : metric, box.right + 30, 31 + 24 * place);
    });
    pen.setLineDash([]);
    for (const [level, text, row] of [[otsu, "O", 0], [area, "A", 1]]) {
      pen.strokeStyle = pen.fillStyle = soft;
      line(pen, [[x(level), box.top], [x(level), box.bottom]]);
      pen.fillText(text, x(level) + 3, box.top + 12 + 15 * row);
    }
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    line(pen, [[x(state.level), box.top - 6], [x(state.level), box.bottom + 6]]);
    canvas.setAttribute("aria-label",
      `IoU, precision and recall by threshold; now ${spoken()}; Otsu (O) at ${otsu}, area-matched (A) at ${area}.`);
  }

  function line(pen, points) {
    pen.beginPath();
    points.forEach(([x, y], place) => (place ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
  }

  function regionRows() {
    const [a, b] = ["a", "b"].map((side) =>
      sides[side].pixels && shown().includes(side) ? Ekman.regionsOf(sides[side].pixels, common.regions) : null);
    const names = common.regions.names;
    const inMask = new Set(common.regions.expressions[maskName()]);
    return names.map((region, place) => ({
      region: region.name, group: region.group, mask: inMask.has(place),
      area: (a ?? b)?.[place].area ?? null,
      "share A": a?.[place].share ?? null, "density A": a?.[place].density ?? null,
      ...(comparing() ? {
        "share B": b?.[place].share ?? null, "density B": b?.[place].density ?? null,
        "share A − B": a && b ? a[place].share - b[place].share : null,
      } : {}),
    }));
  }

  function drawRegions() {
    const table = at("regions");
    const rows = regionRows();
    const head = document.createElement("thead");
    const titles = head.insertRow();
    for (const name of Object.keys(rows[0])) {
      const title = document.createElement("th");
      title.scope = "col";
      title.textContent = name;
      if (!["region", "group", "mask"].includes(name)) title.className = "number";
      titles.append(title);
    }
    const body = document.createElement("tbody");
    rows.sort((one, other) => (other["density A"] ?? 0) - (one["density A"] ?? 0));
    for (const entry of rows) {
      const row = body.insertRow();
      for (const [name, value] of Object.entries(entry)) {
        if (name === "region") {
          const title = document.createElement("th");
          title.scope = "row";
          title.textContent = value;
          row.append(title);
        } else if (name === "group") row.insertCell().textContent = value;
        else if (name === "mask") {
          const mark = row.insertCell();
          mark.textContent = value ? "●" : "";
          if (value) mark.setAttribute("aria-label", "in the mask");
        } else cell(row, value, name.startsWith("density") ? 2 : "%");
      }
    }
    table.replaceChildren(head, body);
    makeSortable(table);
  }

  function remember() {
    const values = { ...partsOf("a"), level: state.level, mask: at("mask").value, colours: at("colours").value };
    if (comparing()) for (const [part, value] of Object.entries(partsOf("b"))) values[`b-${part}`] = value;
    const kept = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""));
    history.replaceState(null, "", `#${kept}`);
  }

  function save(side) {
    // Drawn anew, without the photograph: a picture from disk would forbid the page to save the canvas.
    const sheet = document.createElement("canvas");
    [sheet.height, sheet.width] = common.shape.map((length) => length * SCALE);
    const pen = sheet.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(context(side, "heat").canvas, 0, 0, sheet.width, sheet.height);
    pen.drawImage(context(side, "lines").canvas, 0, 0);
    const link = document.createElement("a");
    link.download = `${(side === "d" ? "difference" : sides[side].key).replaceAll("/", "_")}.png`;
    link.href = sheet.toDataURL("image/png");
    link.click();
  }

  function setLevel(level) {
    if (level === null || level === undefined) return;
    state.level = level;
    at("level").value = level;
    drawLevel();
    remember();
  }

  function begin() {
    const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    const first = {
      explainer: common.explainers[0], network: common.networks[0], fold: "", expression: Object.keys(common.expressions)[0],
      ...(asked.expression ? { network: "" } : {}), ...asked,
    };
    fill("a", first);
    const of = (part) => asked[`b-${part}`];
    const second = of("expression") ? { explainer: of("explainer"), network: of("network") ?? "", fold: of("fold") ?? "", expression: of("expression") }
      : { ...first, network: common.networks.find((name) => name !== first.network) ?? "", fold: "" };
    fill("b", second);
    at("compare").checked = Boolean(of("expression"));
    Ekman.options(at("mask"), [["", "of the expression"], ...Object.entries(common.expressions).filter(([name]) => name in common.masks)], asked.mask ?? "");
    Ekman.options(at("colours"), Object.keys(common.colours).map((name) => [name, Ekman.COLOUR_NAMES[name]]), asked.colours);
    if (asked.level) { state.level = Number(asked.level); state.ready = true; }
  }

  begin();
  at("explorer").addEventListener("submit", (event) => event.preventDefault());
  for (const side of ["a", "b"]) at(`choose-${side}`).addEventListener("change", () => { state.follow = side === "a"; load(); });
  at("compare").addEventListener("change", load);
  at("level").addEventListener("input", () => setLevel(Number(at("level").value)));
  at("to-otsu").addEventListener("click", () => setLevel(sides.a.otsu));
  at("to-area").addEventListener("click", () => setLevel(sides.a.area));
  at("mask").addEventListener("change", () => { count(); draw(); });
  at("colours").addEventListener("change", draw);
  at("opacity").addEventListener("input", () => {
    for (const canvas of document.querySelectorAll("canvas.heat")) canvas.style.opacity = at("opacity").value / 100;
  });
  for (const id of ["outline", "marked"]) at(id).addEventListener("change", drawLevel);
  document.addEventListener("themechange", drawCurve);
  window.addEventListener("resize", drawCurve);
  document.querySelectorAll("button.download").forEach((button) => button.addEventListener("click", () => save(button.dataset.side)));
  at("save-scores").addEventListener("click", () => {
    const lines = ["heatmap,threshold,iou,f1_score,precision,recall,marked"];
    for (const side of shown()) {
      if (!sides[side].pixels) continue;
      for (let level = 0; level < 256; level++) {
        const scores = Ekman.scoresAt(level, sides[side].counts);
        lines.push([sides[side].key, level, ...METRICS.map((metric) => scores[metric] ?? "")].join(","));
      }
    }
    Ekman.saveText("scores_by_threshold.csv", `${lines.join("\n")}\n`);
  });
  at("save-regions").addEventListener("click", () => {
    const rows = regionRows();
    const lines = [Object.keys(rows[0]).join(","), ...rows.map((row) => Object.values(row).map((value) => value ?? "").join(","))];
    Ekman.saveText("regions.csv", `${lines.join("\n")}\n`);
  });
  load();
});
