// The image on the screen: which tiles, where, in which colours. Image y goes up.
const $ = (id) => document.getElementById(id);
const stage = $("stage"), canvas = $("picture"), overlay = $("overlay");
const KEPT = 220, AT_ONCE = 4; // tiles kept (0.5 MB each), and asked for at the same time
const state = {
  file: 0, layer: 0, plane: 0, x: 0, y: 0, scale: 1, // image pixel in the middle, CSS pixels for each
  look: { shades: palette("sky", false), low: 0, high: 1, soft: 0.05, stretch: "asinh" }, version: 0,
  chosen: [], cover: 0.75, flagVersion: 0, // flags that are shown: [bit, colour]
  sources: null, showSources: true, source: -1, cursor: null,
};
const file = () => facts.files[state.file];
const layer = () => file().layers[state.layer];
const key = () => ({ file: state.file, layer: state.layer, plane: state.plane });
const size = () => ({ width: stage.clientWidth, height: stage.clientHeight });
const toScreen = (x, y) => { const { width, height } = size(); return [width / 2 + (x - state.x) * state.scale, height / 2 - (y - state.y) * state.scale]; };
const toImage = (sx, sy) => { const { width, height } = size(); return [state.x + (sx - width / 2) / state.scale, state.y - (sy - height / 2) / state.scale]; };

const tiles = new Map(); // key → {values, canvas, version, …}, oldest first
let wanted = [], asked = 0, frame = 0, failed = "";

const redraw = () => { canvas.dataset.drawn = ""; if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); }); };

const grid = (bin) => { // tiles of one coarseness that are on the screen
  const [ny, nx] = layer().shape, { width, height } = size(), step = TILE * bin;
  const [x0, y1] = toImage(0, 0), [x1, y0] = toImage(width, height), found = [];
  const from = (v) => Math.max(0, Math.floor((v + 0.5) / step)), to = (v, n) => Math.min(Math.ceil(n / step) - 1, Math.floor((v + 0.5) / step));
  for (let ty = from(y0); ty <= to(y1, ny); ty++) for (let tx = from(x0); tx <= to(x1, nx); tx++) found.push([bin, tx, ty]);
  return found;
};
const named = (kind, [bin, tx, ty]) => `${kind} ${state.file} ${state.layer} ${state.plane} ${bin} ${tx} ${ty}`;

const request = () => {
  while (asked < AT_ONCE && wanted.length) {
    const { name, kind, place: [bin, tx, ty], numbers } = wanted.shift();
    const held = tiles.get(name);
    if (held && !held.stale) continue;
    const [ny, nx] = facts.files[numbers.file].layers[numbers.layer].shape, step = TILE * bin;
    const width = Math.ceil((Math.min(nx, (tx + 1) * step) - tx * step) / bin), height = Math.ceil((Math.min(ny, (ty + 1) * step) - ty * step) / bin);
    const one = held?.width === width && held.height === height ? held : { width, height, values: null, canvas: null, version: -1 };
    Object.assign(one, { stale: false, asking: true });
    tiles.set(name, one);
    asked++;
    const of = facts.files[numbers.file].version;
    answers[kind]({ ...numbers, bin, tx, ty })
      .then((values) => { Object.assign(one, { values, version: -1, of }); failed = ""; })
      .catch((error) => { tiles.delete(name); failed = String(error.message || error); wanted = []; })
      .finally(() => { one.asking = false; asked--; tell(); redraw(); });
  }
};

const painted = (kind, one) => { // the picture of a tile, made when first needed or when the look has changed
  const version = kind === "flags" ? `f${state.flagVersion}` : `v${state.version}`;
  if (one.version === version) return one.canvas;
  if (!one.canvas) Object.assign(one, { canvas: Object.assign(document.createElement("canvas"), { width: one.width, height: one.height }) });
  const context = one.canvas.getContext("2d"), image = new ImageData(one.width, one.height), out = new Uint32Array(image.data.buffer);
  if (kind === "flags") paintFlags(one.values, one.width, one.height, state.chosen, out);
  else if (layer().kind === "labels") paintLabels(one.values, one.width, one.height, out);
  else if (layer().kind === "flags") out.fill(pack(10, 13, 20));
  else paintValues(one.values, one.width, one.height, state.look, out);
  context.putImageData(image, 0, 0);
  one.version = version;
  return one.canvas;
};

const paint = (context, kind, place, bin) => {
  const name = named(kind, place), one = tiles.get(name);
  if (!one || !one.values) return false;
  tiles.delete(name);
  tiles.set(name, one); // used last
  const step = TILE * place[0], [left, bottom] = toScreen(place[1] * step - 0.5, place[2] * step - 0.5);
  const [right, top] = toScreen(place[1] * step - 0.5 + one.width * place[0], place[2] * step - 0.5 + one.height * place[0]);
  const ratio = devicePixelRatio, round = (v) => Math.round(v * ratio) / ratio; // or seams show between tiles
  context.imageSmoothingEnabled = kind === "tile" && state.scale * bin < 0.999;
  context.drawImage(painted(kind, one), round(left), round(top), round(right) - round(left), round(bottom) - round(top));
  return true;
};

const draw = () => {
  const { width, height } = size(), ratio = devicePixelRatio;
  for (const one of [canvas, overlay])
    if (one.width !== Math.round(width * ratio) || one.height !== Math.round(height * ratio)) { one.width = Math.round(width * ratio); one.height = Math.round(height * ratio); }
  if (!width || !height) return;
  const context = canvas.getContext("2d"), [ny, nx] = layer().shape, finest = answers.finest(state.file);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.save();
  const [left, bottom] = toScreen(-0.5, -0.5), [right, top] = toScreen(nx - 0.5, ny - 0.5);
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  context.clip();
  const whole = Math.max(finest, 2 ** Math.ceil(Math.log2(Math.max(nx, ny, 1) / (2 * TILE))));
  const within = (power) => Math.min(whole, Math.max(finest, 2 ** power)), pixels = Math.log2(1 / (state.scale * ratio));
  const bins = { tile: within(Math.floor(pixels)), flags: within(Math.ceil(pixels)) }; // a lone flag is not to vanish
  const kinds = state.chosen.length && layer().flags ? ["tile", "flags"] : ["tile"], missing = [];
  let complete = true;
  for (const kind of kinds) {
    context.globalAlpha = kind === "flags" && layer().kind !== "flags" ? state.cover : 1;
    const bin = bins[kind], fine = grid(bin), there = fine.every((place) => tiles.get(named(kind, place))?.values);
    const coarse = fine.length ? (there ? [] : grid(whole)) : [];
    if (kind === "flags" && !there) complete = false; // half-covered twice would look denser
    else for (const place of coarse) paint(context, kind, place, whole);
    for (const place of fine) if (kind === "tile" || there) complete = paint(context, kind, place, bin) && complete;
    missing.push(...[...coarse, ...fine].filter((place) => { const held = tiles.get(named(kind, place)); return !held || (held.stale && !held.asking); }).map((place) => ({ name: named(kind, place), kind, place, numbers: key() })));
  }
  context.restore();
  wanted = failed ? [] : missing;
  request();
  while (tiles.size > KEPT) tiles.delete(tiles.keys().next().value);
  canvas.dataset.bin = bins.tile;
  if (complete && file().version) canvas.dataset.news = Math.min(...grid(bins.tile).map((place) => tiles.get(named("tile", place))?.of ?? 0));
  canvas.dataset.drawn = complete ? `${state.file} ${state.layer} ${state.plane} ${bins.tile} ${state.version} ${state.flagVersion}` : "";
  mark(width, height, ratio);
  tell();
};

const mark = (width, height, ratio) => { // sources, and the crosshair of the keyboard
  const context = overlay.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  if (state.sources && state.showSources) {
    const { x, y } = state.sources, [ny, nx] = layer().shape, radius = Math.min(16, Math.max(3.5, 4 * state.scale));
    const circle = (n, r) => { const [sx, sy] = toScreen(x[n], y[n]); context.moveTo(sx + r, sy); context.arc(sx, sy, r, 0, 7); };
    for (const [colour, wide] of [["#000a", 3.2], ["#7dff9b", 1.4]]) {
      context.beginPath();
      for (let n = 0; n < x.length; n++) {
        if (!(x[n] > -1 && y[n] > -1 && x[n] < nx && y[n] < ny) || x[n] === null || y[n] === null || n === state.source) continue;
        const [sx, sy] = toScreen(x[n], y[n]);
        if (sx > -20 && sy > -20 && sx < width + 20 && sy < height + 20) circle(n, radius);
      }
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.stroke();
    }
    if (state.source >= 0 && x[state.source] !== null) for (const [colour, wide] of [["#000c", 5], ["#ffd24a", 2.4]]) {
      context.beginPath();
      circle(state.source, radius + 3);
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.stroke();
    }
  }
  if (state.cursor?.steady) {
    const [sx, sy] = toScreen(state.cursor.x, state.cursor.y);
    for (const [colour, wide] of [["#000c", 3.4], ["#55cfdc", 1.4]]) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { context.moveTo(sx + 5 * dx, sy + 5 * dy); context.lineTo(sx + 15 * dx, sy + 15 * dy); }
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.stroke();
    }
  }
};

const tell = () => {
  const note = $("note");
  const text = failed || (asked && !canvas.dataset.drawn ? "reading …" : "");
  note.hidden = !text;
  if (note.textContent !== text) note.textContent = text;
};

const bounds = () => { // smallest and largest scale
  const { width, height } = size(), [ny, nx] = layer().shape;
  return [Math.min(width / nx, height / ny) / 4, 64];
};
const fitted = () => { const { width, height } = size(), [ny, nx] = layer().shape; return Math.min(width / nx, height / ny) * 0.985; };
const moved = () => {
  const [ny, nx] = layer().shape;
  state.x = Math.min(nx - 0.5, Math.max(-0.5, state.x));
  state.y = Math.min(ny - 0.5, Math.max(-0.5, state.y));
  const scale = state.scale * devicePixelRatio;
  $("scale").textContent = scale >= 1 ? `${Number(scale.toPrecision(3))}×` : `1/${Number((1 / scale).toPrecision(3))}`;
  canvas.dataset.scale = state.scale;
  clearTimeout(moved.later);
  moved.later = setTimeout(directions, 120);
  redraw();
};
const zoom = (factor, sx = size().width / 2, sy = size().height / 2) => {
  const [x, y] = toImage(sx, sy), [low, high] = bounds();
  state.scale = Math.min(high, Math.max(low, state.scale * factor));
  const [x1, y1] = toImage(sx, sy);
  state.x += x - x1;
  state.y += y - y1;
  moved();
};
const fit = () => { const [ny, nx] = layer().shape; Object.assign(state, { x: (nx - 1) / 2, y: (ny - 1) / 2, scale: fitted() }); moved(); };

// Directions and scale at the middle of the screen, from the coordinates of three places there.
const directions = async () => {
  const compass = $("compass"), ruler = $("ruler"), at = state.file, { x, y, scale } = state;
  let found = null;
  if (file().sky) try { found = await answers.sky(at, [x, x + 1, x], [y, y, y + 1]); } catch { found = null; }
  if (at !== state.file) return;
  const known = found && [...found.ra, ...found.dec].every((value) => value !== null);
  compass.toggleAttribute("hidden", !known);
  ruler.hidden = !known;
  if (!known) return;
  const cos = Math.cos(found.dec[0] * BELOW), east = (n) => ((found.ra[n] - found.ra[0] + 540) % 360 - 180) * cos, north = (n) => found.dec[n] - found.dec[0];
  const det = east(1) * north(2) - east(2) * north(1);
  if (!det) return;
  const turn = (dx, dy) => Math.atan2(dx, dy) / BELOW; // clockwise from up, as the page rotates
  for (const [id, dx, dy] of [["north", -east(2) / det, east(1) / det], ["east", north(2) / det, -north(1) / det]]) {
    const angle = turn(dx, dy);
    $(id).setAttribute("transform", `rotate(${angle})`);
    $(id).querySelector("text").setAttribute("transform", `rotate(${-angle} 0 -44)`);
    compass.dataset[id] = angle;
  }
  const arcsec = 3600 * Math.sqrt(Math.abs(det)) / scale; // for each CSS pixel
  const most = Math.min(150, size().width / 3) * arcsec, nice = [1, 2, 5].flatMap((n) => [-3, -2, -1, 0, 1].map((p) => n * 10 ** p)).concat([60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 72000, 108000, 180000]);
  const length = Math.max(...nice.filter((n) => n <= most), 0);
  ruler.hidden = !length;
  ruler.querySelector("i").style.width = `${length / arcsec}px`;
  ruler.querySelector("span").textContent = length >= 3600 ? `${length / 3600}°` : length >= 60 ? `${length / 60}′` : length >= 0.1 ? `${length}″` : `${Number((length * 1000).toPrecision(2))} mas`;
};
