// Where the page gets what it shows from: the server that made it, or itself.
const facts = JSON.parse(document.getElementById("facts").textContent);
const TILE = 256;
const BELOW = Math.PI / 180;

const fromServer = () => {
  const ask = async (question, numbers, signal) => {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(numbers)) for (const one of [value].flat()) query.append(name, one);
    const reply = await fetch(`${question}?${query}`, { signal });
    if (!reply.ok) throw new Error(await reply.text());
    return reply;
  };
  const json = async (question, numbers) => (await ask(question, numbers)).json();
  const tile = (question) => async (key, signal) => {
    const kind = question === "flags" ? Uint32Array : Float32Array;
    return new kind(await (await ask(question, key, signal)).arrayBuffer());
  };
  return {
    finest: () => 1,
    tile: tile("tile"), flags: tile("flags"),
    summary: (key) => json("summary", key),
    at: (key, x, y) => json("at", { ...key, x, y }),
    sky: (file, x, y) => json("sky", { file, x, y }),
    place: (file, ra, dec) => json("place", { file, ra, dec }),
    sources: (file) => json("sources", { file }),
    row: (row) => json("row", { row }),
    cut: async (key, x, y) => new Float32Array(await (await ask("cut", { ...key, x, y })).arrayBuffer()),
    through: async (key, x, y) => new Float32Array(await (await ask("through", { ...key, x, y })).arrayBuffer()),
    news: (since) => json("news", { since }),
  };
};

const fromInside = () => {
  const unpacked = async (text, kind, count) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const mixed = new Uint8Array(4 * count);
    for (let n = 0; n < count; n++) for (let byte = 0; byte < 4; byte++) mixed[4 * n + byte] = planes[byte * count + n];
    return new kind(mixed.buffer);
  };
  const inside = facts.inside.map((one) => {
    const [height, width] = one.shape;
    return { ...one, height, width, values: unpacked(one.values, Float32Array, width * height), flags: one.flags && unpacked(one.flags, Uint32Array, width * height) };
  });
  const cut = (whole, one, { tx, ty }) => {
    const x0 = tx * TILE, y0 = ty * TILE, x1 = Math.min(one.width, x0 + TILE), y1 = Math.min(one.height, y0 + TILE);
    const out = new whole.constructor((x1 - x0) * (y1 - y0));
    for (let y = y0; y < y1; y++) out.set(whole.subarray(y * one.width + x0, y * one.width + x1), (y - y0) * (x1 - x0));
    return out;
  };
  const sky = (file, x, y) => {
    const f = inside[file].formula;
    if (!f) return [null, null];
    const u = (x - f.middle[0]) / f.half[0], v = (y - f.middle[1]) / f.half[1];
    let xi = 0, eta = 0;
    f.powers.forEach(([i, j], n) => { const term = u ** i * v ** j; xi += f.xi[n] * term; eta += f.eta[n] * term; });
    const sin = Math.sin(f.dec * BELOW), cos = Math.cos(f.dec * BELOW), ahead = cos - eta * sin;
    const ra = f.ra + Math.atan2(xi, ahead) / BELOW;
    return [(ra % 360 + 360) % 360, Math.atan2(sin + eta * cos, Math.hypot(xi, ahead)) / BELOW];
  };
  const bits = (one, value) => one.summary.flags.filter((flag) => (value >>> flag.bit) & 1).map((flag) => flag.name);
  return {
    finest: (file) => inside[file].bin,
    tile: async (key) => cut(await inside[key.file].values, inside[key.file], key),
    flags: async (key) => cut(await inside[key.file].flags, inside[key.file], key),
    summary: async ({ file }) => inside[file].summary,
    at: async ({ file }, x, y) => {
      const one = inside[file], [ny, nx] = facts.files[file].layers[0].shape, [ra, dec] = sky(file, x, y);
      const [px, py] = [Math.round(x), Math.round(y)];
      if (px < 0 || py < 0 || px >= nx || py >= ny) return { ra, dec };
      const at = Math.floor(py / one.bin) * one.width + Math.floor(px / one.bin), value = (await one.values)[at];
      return { value: Number.isFinite(value) ? Number(value.toPrecision(4)) : null, mean: one.bin, flags: one.flags ? bits(one, (await one.flags)[at]) : [], ra, dec };
    },
    sky: async (file, x, y) => {
      const found = x.map((value, n) => sky(file, value, y[n]));
      return { ra: found.map((one) => one[0]), dec: found.map((one) => one[1]) };
    },
    place: async (file, ra, dec) => { // Newton's method on the formula
      const f = inside[file].formula;
      if (!f) return { x: null, y: null };
      let [x, y] = f.middle;
      const off = (px, py) => { const [a, d] = sky(file, px, py); return [((a - ra + 540) % 360 - 180) * Math.cos(dec * BELOW), d - dec]; };
      for (let turn = 0; turn < 20; turn++) {
        const [a, d] = off(x, y), [ax, dx] = off(x + 1, y), [ay, dy] = off(x, y + 1);
        const det = (ax - a) * (dy - d) - (ay - a) * (dx - d);
        if (!det) break;
        x -= (a * (dy - d) - d * (ay - a)) / det;
        y -= (d * (ax - a) - a * (dx - d)) / det;
      }
      return Math.hypot(...off(x, y)) < 1e-6 ? { x, y } : { x: null, y: null };
    },
    sources: async (file) => inside[file].sources,
    row: async (row) => facts.rows[row],
  };
};
const answers = facts.inside ? fromInside() : fromServer();
