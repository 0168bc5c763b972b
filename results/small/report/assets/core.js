// Heatmaps in the browser: unpacked to the bit, coloured, scored against masks.
"use strict";

const Ekman = (() => {
  const received = new Map();
  const loading = new Map();
  let begun;
  const ready = new Promise((resolve) => { begun = resolve; });

  // Base85 as Python writes it, with "," for "<".
  const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
  const valueOf = new Uint8Array(128);
  Array.from(DIGITS).forEach((letter, value) => { valueOf[letter.charCodeAt(0)] = value; });

  function bytesOf(text) {
    const length = Math.floor((text.length * 4) / 5);
    const bytes = new Uint8Array(4 * Math.ceil(text.length / 5));
    for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
      let value = 0;
      for (let place = from; place < from + 5; place++) value = value * 85 + (place < text.length ? valueOf[text.charCodeAt(place)] : 84);
      for (let place = to + 3; place >= to; place--) { bytes[place] = value % 256; value = Math.floor(value / 256); }
    }
    return bytes.subarray(0, length);
  }

  // The inverse of `pack` in ekman_expressions.report.data.
  async function unpack(text, width) {
    const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const pixels = new Uint8Array(await new Response(stream).arrayBuffer());
    for (let place = 0; place < pixels.length; place++) {
      const first = place % width === 0;
      const left = first ? 0 : pixels[place - 1];
      const above = place < width ? 0 : pixels[place - width];
      const corner = first || place < width ? 0 : pixels[place - width - 1];
      const slope = left + above - corner;
      pixels[place] += Math.max(Math.min(left, above), Math.min(slope, Math.max(left, above)));
    }
    return pixels;
  }

  async function start(common) {
    const width = common.shape[1];
    for (const name of Object.keys(common.masks)) common.masks[name] = await unpack(common.masks[name], width);
    common.regions.labels = await unpack(common.regions.labels, width);
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    for (const name of Object.keys(common.colours)) common.colours[name] = bytes(common.colours[name]);
    common.diverging = bytes(common.diverging);
    begun(common);
  }

  function loadScript(address) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${address} cannot be loaded`));
      document.head.append(script);
    });
  }

  function keyOf({ explainer, network, fold, expression }, common) {
    return `${explainer}/${[network, fold, common.expressions[expression]].filter(Boolean).join("_")}`;
  }

  // The pixels of a heatmap, loaded when they are first asked for.
  function heatmap(key, common) {
    if (!(key in common.cells)) return Promise.resolve(null);
    if (!loading.has(key)) {
      loading.set(key, loadScript(`data/${key.split("/").map(encodeURIComponent).join("/")}.js`).then(() => unpack(received.get(key), common.shape[1])));
    }
    return loading.get(key);
  }

  function colour(pixels, table, context) {
    const image = context.createImageData(context.canvas.width, context.canvas.height);
    for (let place = 0; place < pixels.length; place++) {
      const at = 3 * pixels[place];
      image.data[4 * place] = table[at];
      image.data[4 * place + 1] = table[at + 1];
      image.data[4 * place + 2] = table[at + 2];
      image.data[4 * place + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  // The border of a region along the edges of its pixels, as one path.
  function outline(context, inside, [height, width], scale, dashed) {
    context.beginPath();
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const place = row * width + column;
        // The path is made of single edges: a dash is a run of them that is drawn.
        if (!inside(place) || (dashed && (2 * row + 3 * column) % 14 > 8)) continue;
        const [x, y] = [column * scale, row * scale];
        if (column === 0 || !inside(place - 1)) { context.moveTo(x, y); context.lineTo(x, y + scale); }
        if (column === width - 1 || !inside(place + 1)) { context.moveTo(x + scale, y); context.lineTo(x + scale, y + scale); }
        if (row === 0 || !inside(place - width)) { context.moveTo(x, y); context.lineTo(x + scale, y); }
        if (row === height - 1 || !inside(place + width)) { context.moveTo(x, y + scale); context.lineTo(x + scale, y + scale); }
      }
    }
  }

  function drawOutline(context, inside, shape, scale, look) {
    outline(context, inside, shape, scale, look.dashed);
    context.lineWidth = look.width * 2.2;
    context.strokeStyle = look.rim ?? "rgba(0, 0, 0, .55)";
    context.stroke();
    context.lineWidth = look.width;
    context.strokeStyle = look.colour;
    context.stroke();
  }

  // How many pixels are above each level, in all and inside the mask.
  function countsOf(pixels, mask) {
    const all = new Array(256).fill(0);
    const inside = new Array(256).fill(0);
    let area = 0;
    for (let place = 0; place < pixels.length; place++) {
      all[pixels[place]] += 1;
      if (mask?.[place]) { inside[pixels[place]] += 1; area += 1; }
    }
    for (const counts of [all, inside]) {
      let above = 0;
      for (let level = 255; level >= 0; level--) {
        const here = counts[level];
        counts[level] = above;
        above += here;
      }
    }
    return { all, inside, area, size: pixels.length };
  }

  function scoresAt(level, { all, inside, area, size }) {
    const [marked, both] = [all[level], inside[level]];
    return {
      // Without a mask there is no score.
      iou: area ? both / (marked + area - both) : null,
      f1_score: area ? (2 * both) / (marked + area) : null,
      precision: marked && area ? both / marked : null,
      recall: area ? both / area : null,
      marked: marked / size,
    };
  }

  function areaMatched({ all, area }) {
    let best = 0;
    for (let level = 1; level < 256; level++) {
      if (Math.abs(all[level] - area) < Math.abs(all[best] - area)) best = level;
    }
    return best;
  }

  function regionsOf(pixels, regions) {
    const sums = new Array(regions.names.length + 1).fill(0);
    const areas = new Array(regions.names.length + 1).fill(0);
    let total = 0;
    for (let place = 0; place < pixels.length; place++) {
      sums[regions.labels[place]] += pixels[place];
      areas[regions.labels[place]] += 1;
      total += pixels[place];
    }
    return regions.names.map((region, place) => {
      const area = areas[place + 1] / pixels.length;
      const share = total ? sums[place + 1] / total : 0;
      return { ...region, area, share, density: area ? share / area : 0 };
    });
  }

  function correlation(first, second) {
    const mean = (pixels) => pixels.reduce((sum, value) => sum + value, 0) / pixels.length;
    const [a, b] = [mean(first), mean(second)];
    let [ab, aa, bb] = [0, 0, 0];
    for (let place = 0; place < first.length; place++) {
      const [da, db] = [first[place] - a, second[place] - b];
      ab += da * db; aa += da * da; bb += db * db;
    }
    return aa && bb ? ab / Math.sqrt(aa * bb) : null;
  }

  function options(select, entries, chosen) {
    select.replaceChildren(...entries.map(([value, text]) => new Option(text, value, false, value === chosen)));
  }

  function saveText(name, text) {
    const link = document.createElement("a");
    link.download = name;
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(text)}`;
    link.click();
  }

  const COLOUR_NAMES = { viridis: "viridis", cividis: "cividis", magma: "magma", gray: "gray", jet: "JET (as in the study)" };

  return {
    ready, start, unpack, loadScript, keyOf, heatmap, colour, drawOutline, countsOf, scoresAt, areaMatched,
    regionsOf, correlation, options, saveText, COLOUR_NAMES,
    receive(key, text) { received.set(key, text); },
  };
})();
