// What people do: controls, mouse, touch, keyboard.
let summary = null, scaled = true; // scaled: the limits follow the plane that is shown
const looks = new Map(); // limits and stretch of each extension, kept while others are looked at
const option = (select, value, text) => select.append(Object.assign(document.createElement("option"), { value, textContent: text }));
const note = (error) => { failed = String(error.message || error); tell(); };

// -- brightness and colour -----------------------------------------------------------------
const LIMITS = { auto: "automatic", zscale: "z-scale", 90: "90 %", 95: "95 %", 98: "98 %", 99: "99 %", 99.5: "99.5 %", 99.9: "99.9 %", minmax: "all", hand: "by hand" };
for (const [value, text] of ["auto", "zscale", "90", "95", "98", "99", "99.5", "99.9", "minmax", "hand"].map((name) => [name, LIMITS[name]])) option($("limits"), value, text);
for (const name of Object.keys(MAPS)) option($("map"), name, name);
$("map").value = "sky";

const onAxis = (value) => Math.asinh((value - summary.median) / summary.sigma); // the histogram's axis
const offAxis = (t) => summary.median + summary.sigma * Math.sinh(t);
const toSlide = (value) => { const [a, b] = summary.axis; return Math.round(1000 * (onAxis(value) - a) / (b - a)); };
const fromSlide = (slide) => { const [a, b] = summary.axis; return offAxis(a + (b - a) * slide / 1000); };
const softness = () => 10 ** (-3 + 3 * (1 - $("soft").value / 100)); // 1 (nearly linear) to 0.001

const softened = () => { // so that the sky, with limits chosen for it, is dark and not black
  const { low, high } = state.look, t = (summary.median - low) / (high - low || 1), f = STRETCHES[$("stretch").value].to;
  let slide = 0;
  while (slide < 90 && f(t, 10 ** (-3 + 3 * (1 - (slide + 1) / 100))) < 0.17) slide++;
  $("soft").value = slide;
};
const changed = () => {
  const { low, high } = state.look;
  state.look = { ...state.look, shades: palette($("map").value, $("invert").checked), stretch: $("stretch").value, soft: softness() };
  $("soften").hidden = !["asinh", "log"].includes(state.look.stretch);
  $("softness").textContent = Number(state.look.soft.toPrecision(2));
  for (const [id, value] of [["low", low], ["high", high]]) {
    if (document.activeElement !== $(id)) $(id).value = Number(value.toPrecision(6));
    if (summary?.axis && document.activeElement !== $(id + "slide")) $(id + "slide").value = toSlide(value);
    $(id + "slide").setAttribute("aria-valuetext", brief(value));
  }
  state.version++;
  colourBar();
  histogram();
  redraw();
};
const limit = (low, high, name) => {
  state.look.low = Math.min(low, high);
  state.look.high = Math.max(low, high);
  $("limits").value = name;
  changed();
};
const colourBar = () => {
  const bar = $("colours").getContext("2d"), image = new ImageData(512, 1), out = new Uint32Array(image.data.buffer);
  for (let n = 0; n < 512; n++) out[n] = state.look.shades[Math.round(n / 511 * (SHADES - 1))];
  bar.putImageData(image, 0, 0);
  const { low, high, soft, stretch } = state.look, at = [0, 0.25, 0.5, 0.75, 1];
  const texts = at.map((t) => brief(low + (high - low) * STRETCHES[stretch].back(t, soft)));
  $("ticks").replaceChildren(...at.map((t, n) => { const one = Object.assign(document.createElement("span"), { textContent: texts[n] }); one.style.left = `${100 * t}%`; return one; }));
  $("colours").setAttribute("aria-label", `Colour bar from ${texts[0]} to ${texts[4]} ${layer().unit}`);
};
const histogram = () => {
  const box = $("histogram"), context = box.getContext("2d"), { width, height } = box;
  context.clearRect(0, 0, width, height);
  if (!summary?.histogram) return;
  const bars = summary.histogram, most = Math.log1p(Math.max(...bars)), step = width / bars.length;
  const [a, b] = summary.axis, span = state.look.high - state.look.low || 1e-30;
  bars.forEach((count, n) => {
    const t = (offAxis(a + (b - a) * (n + 0.5) / bars.length) - state.look.low) / span;
    const shown = state.look.shades[Math.round(STRETCHES[state.look.stretch].to(Math.min(1, Math.max(0, t)), state.look.soft) * (SHADES - 1))];
    const tall = height * Math.log1p(count) / most;
    context.fillStyle = "#4a5870";
    context.fillRect(n * step, height - tall, step - 0.6, tall);
    context.fillStyle = `rgb(${shown & 255} ${shown >> 8 & 255} ${shown >> 16 & 255})`;
    context.fillRect(n * step, height - tall + 3, step - 0.6, Math.max(0, tall - 3));
  });
  context.fillStyle = "#55cfdc";
  for (const value of [state.look.low, state.look.high]) context.fillRect(Math.min(width - 3, Math.max(0, (onAxis(value) - a) / (b - a) * width - 1.5)), 0, 3, height);
};
for (const id of ["stretch", "map", "invert", "soft"]) $(id).addEventListener("input", changed);
$("limits").addEventListener("input", () => { const name = $("limits").value; scaled = name !== "hand"; if (summary.limits[name]) limit(...summary.limits[name], name); });
for (const [id, other] of [["low", "high"], ["high", "low"]]) {
  const set = (value) => { if (!Number.isFinite(value)) return; state.look[id] = value; if (state.look.low > state.look.high) state.look[other] = value; scaled = false; $("limits").value = "hand"; changed(); };
  $(id).addEventListener("change", () => set(Number($(id).value)));
  $(id + "slide").addEventListener("input", () => set(fromSlide(Number($(id + "slide").value))));
}

// -- flags -----------------------------------------------------------------------------------
const off = new Map(); // flags switched by hand: name → shown
const flags = (list) => {
  $("quality").hidden = !list.length;
  $("flags").replaceChildren(...list.map((flag) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: off.get(flag.name) ?? layer().kind === "flags" });
    box.dataset.bit = flag.bit;
    box.dataset.name = flag.name;
    box.addEventListener("input", () => { off.set(flag.name, box.checked); chosen(list); });
    const swatch = document.createElement("i"), label = document.createElement("label"), item = document.createElement("li");
    swatch.style.background = flagColour(flag);
    label.title = flag.meaning;
    label.append(box, swatch, Object.assign(document.createElement("span"), { textContent: flag.name }), Object.assign(document.createElement("small"), { textContent: flag.count.toLocaleString("en") }));
    item.append(label);
    return item;
  }));
  chosen(list);
};
const chosen = (list) => {
  const on = new Set([...$("flags").querySelectorAll("input:checked")].map((box) => Number(box.dataset.bit)));
  // Rarest first: what few pixels have is not hidden by what many have.
  state.chosen = [...list].sort((a, b) => a.count - b.count).filter((flag) => on.has(flag.bit)).map((flag) => [flag.bit, pack(...rgb(flagColour(flag)))]);
  state.flagVersion++;
  redraw();
};
const everyFlag = (shown) => { for (const box of $("flags").querySelectorAll("input")) { box.checked = shown; off.set(box.dataset.name, shown); } chosen(summary.flags); };
$("allflags").addEventListener("click", () => everyFlag(true));
$("noflags").addEventListener("click", () => everyFlag(false));
$("cover").addEventListener("input", () => { state.cover = $("cover").value / 100; redraw(); });

// -- which file, extension, plane ------------------------------------------------------------
const listFiles = () => {
  $("file").replaceChildren();
  facts.files.forEach((one, n) => option($("file"), n, one.name));
  $("file").value = state.file;
  $("files").hidden = facts.files.length < 2;
  $("together").hidden = facts.files.filter((one) => one.sky).length < 2;
};
listFiles();

const show = async (numbers, { keep = true, fresh = false } = {}) => { // another file, extension or plane
  const before = { ...key(), x: state.x, y: state.y, scale: state.scale }, turn = ++show.turn;
  if (summary) looks.set(`${layer().name} ${layer().unit}`, { look: { ...state.look }, limits: $("limits").value, slide: $("soft").value, scaled });
  const next = { ...key(), ...numbers }, to = facts.files[next.file];
  if (next.file !== before.file && numbers.layer === undefined) next.layer = Math.max(0, to.layers.findIndex((one) => one.name === layer().name));
  next.plane = Math.min(next.plane, to.layers[next.layer].axes.reduce((n, axis) => n * axis.length, 1) - 1);
  let place = null, facing;
  try {
    facing = await answers.summary(next);
    if (keep && next.file !== before.file && $("locked").checked && file().sky && to.sky) place = await sameSky(before, next.file);
  } catch (error) { note(error); return; }
  if (turn !== show.turn) return; // something else was asked for meanwhile
  failed = "";
  summary = facing;
  Object.assign(state, next);
  if (place) Object.assign(state, place);
  const kept = looks.get(`${layer().name} ${layer().unit}`);
  scaled = kept ? kept.scaled : true;
  const same = !fresh && kept && next.file !== before.file && facts.files[before.file].layers[before.layer].name === layer().name; // blinked: nothing but the file changes
  const name = kept ? kept.limits : "auto", pair = summary.limits[name] || summary.limits.minmax || [0, 1];
  if (kept) { $("stretch").value = kept.look.stretch; $("soft").value = kept.slide; }
  else if (layer().kind === "values" && before.layer !== state.layer) $("stretch").value = "asinh";
  headings();
  flags(summary.flags);
  if (same) limit(kept.look.low, kept.look.high, kept.limits);
  else if (scaled || !kept) {
    if (!kept && summary.limits.auto) { Object.assign(state.look, { low: pair[0], high: pair[1] }); softened(); }
    limit(...pair, summary.limits[name] || !summary.limits.minmax ? name : "minmax");
  } else limit(kept.look.low, kept.look.high, "hand");
  if (next.file !== before.file) await overlaid();
  const changedFrame = String(facts.files[before.file].layers[before.layer].shape) !== String(layer().shape);
  if (!keep || (changedFrame && !place)) fit();
  else moved();
  read();
};
show.turn = 0;
const sameSky = async (before, other) => {
  const here = await answers.sky(before.file, [before.x, before.x + 1, before.x], [before.y, before.y, before.y + 1]);
  if ([...here.ra, ...here.dec].includes(null)) return null;
  const there = await answers.place(other, here.ra[0], here.dec[0]);
  if (there.x === null || there.y === null) return null;
  const next = await answers.sky(other, [there.x, there.x + 1, there.x], [there.y, there.y, there.y + 1]);
  if ([...next.ra, ...next.dec].includes(null)) return null;
  const area = ({ ra, dec }) => {
    const cos = Math.cos(dec[0] * BELOW), east = (n) => ((ra[n] - ra[0] + 540) % 360 - 180) * cos;
    return Math.abs(east(1) * (dec[2] - dec[0]) - east(2) * (dec[1] - dec[0]));
  };
  return { x: there.x, y: there.y, scale: before.scale * Math.sqrt(area(next) / area(here)) };
};
const headings = () => {
  const { name, title, layers, model } = file(), one = layer();
  $("name").textContent = name;
  $("title").textContent = [title, model, `${one.shape[1]} × ${one.shape[0]}`].filter(Boolean).join(" · ");
  document.title = `${name} – Lightmill`;
  $("file").value = state.file;
  $("layer").replaceChildren();
  layers.forEach((other, n) => option($("layer"), n, other.name + (other.unit ? `  (${other.unit})` : "")));
  $("layer").value = state.layer;
  $("unit").textContent = one.unit;
  $("brightness").hidden = one.kind !== "values";
  $("bar").hidden = one.kind !== "values";
  canvas.setAttribute("aria-label", `Image ${name}, extension ${one.name}. Arrow keys move, plus and minus zoom.`);
  for (const row of document.querySelectorAll("#readout .sky")) row.hidden = !file().sky;
  document.querySelector("#readout .dq").hidden = !one.flags;
  let rest = state.plane;
  const numbers = one.axes.map((axis) => axis.length).reduceRight((found, length) => { found.unshift(rest % length); rest = Math.floor(rest / length); return found; }, []);
  $("axes").replaceChildren(...one.axes.map((axis, n) => {
    const label = Object.assign(document.createElement("label"), { className: "row" });
    const slide = Object.assign(document.createElement("input"), { type: "range", min: 0, max: axis.length - 1, value: numbers[n] });
    const number = Object.assign(document.createElement("input"), { type: "number", min: 0, max: axis.length - 1, value: numbers[n] });
    slide.setAttribute("aria-label", axis.name);
    number.setAttribute("aria-label", axis.name);
    const choose = (value) => { numbers[n] = Math.min(axis.length - 1, Math.max(0, Math.round(value) || 0)); show({ plane: one.axes.reduce((at, other, m) => at * other.length + numbers[m], 0) }).then(() => $("axes").querySelectorAll("input[type=range]")[n]?.focus()); };
    slide.addEventListener("change", () => choose(slide.valueAsNumber));
    number.addEventListener("change", () => choose(number.valueAsNumber));
    const told = one.channels.length ? `${axis.name} ${micrometres(one.channels[numbers[n]])}` : axis.name;
    label.append(Object.assign(document.createElement("span"), { textContent: told }), slide, number);
    return label;
  }));
  spectrumHeading();
};
const turnFile = (by) => show({ file: (state.file + by + facts.files.length) % facts.files.length });
$("file").addEventListener("input", () => show({ file: Number($("file").value) }));
$("layer").addEventListener("input", () => show({ layer: Number($("layer").value), plane: 0 }));
let blinking = 0;
const blink = () => {
  clearTimeout(blinking);
  if ($("blink").checked) blinking = setTimeout(() => turnFile(1).finally(blink), 1000 * Math.min(10, Math.max(0.2, $("interval").valueAsNumber || 0.8)));
};
$("blink").addEventListener("input", blink);
$("interval").addEventListener("input", blink);

// -- catalog -----------------------------------------------------------------------------------
const overlaid = async () => {
  if (!facts.catalog) return;
  try { state.sources = await answers.sources(state.file); } catch (error) { note(error); }
  redraw();
};
if (facts.catalog) {
  $("catalog").hidden = false;
  const count = facts.catalog.count, here = facts.rows ? facts.rows.length : count;
  $("count").textContent = `${here < count ? `${here.toLocaleString("en")} of ` : ""}${count.toLocaleString("en")} sources of ${facts.catalog.name}`;
  $("source").max = facts.catalog.count;
}
const choose = async (n, go = false) => {
  state.source = n;
  $("rowbox").hidden = n < 0;
  redraw();
  if (n < 0) return;
  let cells;
  try { cells = await answers.row(n); } catch (error) { note(error); return; }
  if (state.source !== n) return;
  $("source").value = n + 1;
  const { x, y } = state.sources, [ny, nx] = layer().shape, here = x[n] !== null && y[n] !== null && x[n] > -1 && y[n] > -1 && x[n] < nx && y[n] < ny;
  $("row").caption.textContent = `Row ${n + 1}${here ? "" : " (not on this image)"}`;
  $("row").tBodies[0].replaceChildren(...cells.map((value, at) => {
    const [name, unit] = facts.catalog.columns[at];
    const line = document.createElement("tr");
    line.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }), Object.assign(document.createElement("td"), { textContent: unit ? `${value} ${unit}` : value }));
    return line;
  }));
  if (go && here) { Object.assign(state, { x: x[n], y: y[n], scale: Math.max(state.scale, 2) }); moved(); }
};
const nearest = (sx, sy) => {
  if (!state.sources || !state.showSources) return -1;
  const { x, y } = state.sources, reach = Math.max(14, 5 * state.scale);
  let best = -1, least = reach * reach;
  for (let n = 0; n < x.length; n++) {
    if (x[n] === null || y[n] === null) continue;
    const [px, py] = toScreen(x[n], y[n]), distance = (px - sx) ** 2 + (py - sy) ** 2;
    if (distance < least) { least = distance; best = n; }
  }
  return best;
};
$("sources").addEventListener("input", () => { state.showSources = $("sources").checked; redraw(); });
$("source").addEventListener("change", () => { const n = $("source").valueAsNumber - 1; if (n >= 0 && n < state.sources.x.length) choose(n, true); });

// -- the pixel under the cursor ------------------------------------------------------------------
let reading = false, again = false, shown = null;
const read = async () => { // one question at a time; the last place wins
  if (!state.cursor) return;
  if (reading) { again = true; return; }
  reading = true;
  const { x, y, steady } = state.cursor, where = key();
  try { report(await answers.at(where, x, y), x, y, steady); } catch (error) { note(error); }
  reading = false;
  if (again) { again = false; read(); }
};
const report = (found, x, y, aloud) => {
  const unit = layer().unit ? " " + layer().unit : "", inside = found.value !== undefined;
  const error = found.error === undefined || found.error === null ? "" : ` ± ${Number(found.error.toPrecision(3))}`;
  $("xy").textContent = `${x.toFixed(1)}, ${y.toFixed(1)}`;
  $("value").textContent = inside ? `${shortest(found.value)}${error}${unit}${found.mean > 1 ? ` (mean of ${found.mean}²)` : ""}` : "–";
  const sky = found.ra !== undefined && found.ra !== null;
  $("sexagesimal").textContent = sky ? sexagesimal(found.ra, found.dec) : "–";
  $("degrees").textContent = sky ? `${found.ra.toFixed(7)}  ${found.dec < 0 ? "−" : "+"}${Math.abs(found.dec).toFixed(7)}` : "–";
  $("dq").textContent = inside ? (found.flags || []).join(" ") || "none" : "–";
  Object.assign($("readout").dataset, { told: Number($("readout").dataset.told || 0) + 1, x, y, value: inside ? found.value : "", ra: sky ? found.ra : "", dec: sky ? found.dec : "" });
  cutThrough(x, y);
  lookThrough(x, y);
  shown = sky ? $("degrees").textContent.replace("−", "-") : $("xy").textContent;
  if (aloud) $("spoken").textContent = `x ${Math.round(x)}, y ${Math.round(y)}, value ${$("value").textContent}${found.flags?.length ? ", flags " + found.flags.join(", ") : ""}`;
};
const point = (sx, sy, steady = false) => {
  const [x, y] = toImage(sx, sy);
  state.cursor = { x, y, steady };
  read();
  redraw();
};

// -- mouse and touch -------------------------------------------------------------------------------
const pointers = new Map();
let travelled = 0;
const local = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); pointers.set(event.pointerId, local(event)); if (pointers.size === 1) travelled = 0; canvas.classList.add("held"); });
canvas.addEventListener("pointermove", (event) => {
  const now = local(event), before = pointers.get(event.pointerId);
  if (!before) { point(...now); return; }
  const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
  travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
  if (other) { // two fingers: what is under them stays under them
    const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
    zoom(apart(now) / apart(before), (before[0] + other[0]) / 2, (before[1] + other[1]) / 2);
    state.x -= (now[0] - before[0]) / 2 / state.scale;
    state.y += (now[1] - before[1]) / 2 / state.scale;
  } else if (travelled > 4) {
    state.x -= (now[0] - before[0]) / state.scale;
    state.y += (now[1] - before[1]) / state.scale;
  }
  pointers.set(event.pointerId, now);
  moved();
});
const released = (event) => {
  const was = pointers.delete(event.pointerId);
  if (!pointers.size) canvas.classList.remove("held");
  if (!was || event.type === "pointercancel" || travelled > 4) return;
  point(...local(event), event.pointerType !== "mouse");
  if (facts.catalog) choose(nearest(...local(event)));
};
canvas.addEventListener("pointerup", released);
canvas.addEventListener("pointercancel", released);
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY * (event.deltaMode ? 18 : 1) / 420), ...local(event)); point(...local(event)); }, { passive: false });
canvas.addEventListener("dblclick", (event) => zoom(2, ...local(event)));

// -- keyboard ----------------------------------------------------------------------------------------
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const centred = () => { const { width, height } = size(); point(width / 2, height / 2, true); };
const KEYS = {
  "+": () => { zoom(1.5); centred(); }, "=": () => { zoom(1.5); centred(); }, "-": () => { zoom(1 / 1.5); centred(); },
  0: fit, 1: () => { state.scale = 1 / devicePixelRatio; moved(); },
  n: () => facts.files.length > 1 && turnFile(1), p: () => facts.files.length > 1 && turnFile(-1),
  e: () => show({ layer: (state.layer + 1) % file().layers.length, plane: 0 }),
  "[": () => state.plane && show({ plane: state.plane - 1 }), "]": () => show({ plane: state.plane + 1 }),
  d: () => summary?.flags.length && everyFlag(!state.chosen.length),
  s: () => { state.showSources = $("sources").checked = !state.showSources; redraw(); },
  c: () => { if (shown) navigator.clipboard?.writeText(shown).then(() => { $("spoken").textContent = `copied ${shown}`; }, () => {}); },
  b: () => { $("blink").checked = !$("blink").checked; blink(); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select")) return;
  const step = STEPS[event.key];
  if (step && event.target === canvas) {
    const by = event.shiftKey ? 1 : Math.max(1, Math.round(60 / state.scale));
    state.x = event.shiftKey ? Math.round(state.x) + step[0] : state.x + step[0] * by;
    state.y = event.shiftKey ? Math.round(state.y) + step[1] : state.y + step[1] * by;
    moved();
    centred();
  } else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});
$("in").addEventListener("click", () => zoom(1.5));
$("out").addEventListener("click", () => zoom(1 / 1.5));
$("fit").addEventListener("click", fit);
$("one").addEventListener("click", KEYS[1]);
$("panel").addEventListener("click", () => $("panel").setAttribute("aria-expanded", $("controls").classList.toggle("open")));

// -- places typed --------------------------------------------------------------------------------------
const angle = (text, hours) => {
  const parts = text.replace("−", "-").split(/[:hdms°′″'" ]+/).filter(Boolean).map(Number), sign = /^\s*[-−]/.test(text) ? -1 : 1;
  return sign * parts.map(Math.abs).reduce((sum, part, n) => sum + part / 60 ** n, 0) * (hours ? 15 : 1);
};
$("go").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("place").value.trim();
  $("wrong").textContent = "";
  let x, y;
  const pair = text.match(/^(-?[\d.]+)\s*,\s*(-?[\d.]+)$/), words = text.split(/\s+/);
  if (pair) [x, y] = [Number(pair[1]), Number(pair[2])];
  else if (file().sky) {
    const half = words.length === 6 ? 3 : 1, [first, second] = [words.slice(0, half).join(" "), words.slice(half).join(" ")];
    const ra = angle(first, /[:h ]/.test(first)), dec = angle(second, false);
    if (second && Number.isFinite(ra) && Number.isFinite(dec)) try { ({ x, y } = await answers.place(state.file, ra, dec)); } catch (error) { note(error); }
  }
  const [ny, nx] = layer().shape;
  if (!Number.isFinite(x) || !Number.isFinite(y) || x < -0.5 || y < -0.5 || x > nx - 0.5 || y > ny - 0.5) { $("wrong").textContent = "no such place in this image"; return; }
  Object.assign(state, { x, y, scale: Math.max(state.scale, 2) });
  moved();
  centred();
});

// -- begin ---------------------------------------------------------------------------------------------
new ResizeObserver(() => { if (ready) moved(); }).observe(stage);
let ready = false;
const begin = async () => {
  const first = file().first, axes = file().layers[first].axes;
  const plane = axes.reduce((at, axis, n) => at * axis.length + Math.min(axis.length - 1, facts.planes[n] || 0), 0);
  $("stretch").value = "asinh";
  state.layer = first;
  headings();
  fit();
  await overlaid();
  await show({ layer: first, plane }, { keep: false });
  ready = true;
  canvas.dataset.ready = "yes";
};
const alive = async () => { // until the program that serves the page ends
  try {
    const reader = (await fetch("alive")).body.getReader();
    while (!(await reader.read()).done);
  } catch { /* told below */ }
  note("the viewer was ended in its terminal; what is loaded can still be looked at");
};
begin();
if (!facts.inside) alive();
