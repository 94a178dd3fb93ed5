// Numbers to colours: stretches, colour maps, colours of flags and labels.
const STRETCHES = {
  linear: { to: (t) => t, back: (t) => t },
  sqrt: { to: (t) => Math.sqrt(t), back: (t) => t * t },
  asinh: { to: (t, a) => Math.asinh(t / a) / Math.asinh(1 / a), back: (t, a) => a * Math.sinh(t * Math.asinh(1 / a)) },
  log: { to: (t, a) => Math.log1p(t / a) / Math.log1p(1 / a), back: (t, a) => a * Math.expm1(t * Math.log1p(1 / a)) },
};
// Corner colours, evenly spaced; between them is interpolated. viridis and magma (van der Walt &
// Smith, CC0) are even in lightness; the balance has its middle at the middle of the limits.
const MAPS = {
  grey: ["#000000", "#ffffff"],
  sky: ["#05060a", "#0f1b33", "#1e355c", "#3f6092", "#7f9cc4", "#bcbfc4", "#f3e3c3", "#fff4e2", "#ffffff"],
  heat: ["#000000", "#5c0000", "#b81400", "#ff5a00", "#ffa100", "#ffe060", "#ffffff"],
  viridis: ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"],
  magma: ["#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf"],
  cubehelix: null,
  balance: ["#0b2a6b", "#2f6fc0", "#9cc6e8", "#f4f4f4", "#f0b49a", "#c9503f", "#6b0d1d"],
};
const SHADES = 1024;
const NOTHING = [44, 30, 52]; // NaN: a colour no map has, dark enough not to be taken for light
const FLAG_COLOURS = {
  DO_NOT_USE: "#ff4d4d", SATURATED: "#ffd24a", JUMP_DET: "#38d6d0", OUTLIER: "#ff7de9", DEAD: "#8f9bb3", HOT: "#b48cf2",
  WARM: "#d8a2ff", LOW_QE: "#7c9cf5", PERSISTENCE: "#f59a3d", NON_SCIENCE: "#5b6577", NO_LIN_CORR: "#8fd19e", NO_GAIN_VALUE: "#b7e06a",
  NO_FLAT_FIELD: "#5fd394", REFERENCE_PIXEL: "#63708a", CHARGELOSS: "#ffb3a0", NO_SAT_CHECK: "#c9d36a", OTHER_BAD_PIXEL: "#e0824a",
};

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const pack = (r, g, b, a = 255) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0; // as little-endian pixels lie
const hue = (degrees, saturation, lightness) => {
  const part = (n) => {
    const k = (n + degrees / 30) % 12;
    return Math.round(255 * (lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
};
const cubehelix = (t) => { // Green 2011, Bull. Astron. Soc. India 39, 289: start 0.5, -1.5 turns, hue 1
  const phi = 2 * Math.PI * (0.5 / 3 + 1 - 1.5 * t), amplitude = t * (1 - t) / 2;
  const wave = [[-0.14861, 1.78277], [-0.29227, -0.90649], [1.97294, 0]];
  return wave.map(([c, s]) => 255 * Math.min(1, Math.max(0, t + amplitude * (c * Math.cos(phi) + s * Math.sin(phi)))));
};
const shade = (name, t) => {
  const corners = MAPS[name];
  if (!corners) return cubehelix(t);
  const at = t * (corners.length - 1), low = Math.min(Math.floor(at), corners.length - 2), part = at - low;
  const [first, second] = [rgb(corners[low]), rgb(corners[low + 1])];
  return first.map((value, n) => value + (second[n] - value) * part);
};
const palette = (name, inverted) => Uint32Array.from({ length: SHADES }, (_, n) => {
  const t = n / (SHADES - 1);
  return pack(...shade(name, inverted ? 1 - t : t).map(Math.round));
});
const labelColour = (label) => label > 0 ? pack(...hue((label * 137.508) % 360, 0.62, 0.52 + 0.14 * (label % 3 - 1))) : pack(10, 13, 20);
const flagColour = (flag) => FLAG_COLOURS[flag.name] || "#" + hue((flag.bit * 137.508) % 360, 0.7, 0.6).map((v) => v.toString(16).padStart(2, "0")).join("");

// Pixels of a tile of values, row 0 lowest, into those of a picture, row 0 at the top.
const paintValues = (values, width, height, look, out) => {
  const { shades, low, high, soft, stretch } = look;
  const f = STRETCHES[stretch].to, span = high - low || 1e-30, none = pack(...NOTHING);
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0, to = (height - 1 - y) * width; x < width; x++, at++, to++) {
      const t = (values[at] - low) / span;
      out[to] = t !== t || !Number.isFinite(values[at]) ? none : shades[t <= 0 ? 0 : t >= 1 ? SHADES - 1 : Math.round(f(t, soft) * (SHADES - 1))];
    }
};
const paintLabels = (values, width, height, out) => {
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0, to = (height - 1 - y) * width; x < width; x++, at++, to++) out[to] = labelColour(values[at]);
};
const paintFlags = (values, width, height, chosen, out) => { // chosen: [bit, packed colour], the first that is set counts
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0, to = (height - 1 - y) * width; x < width; x++, at++, to++) {
      const value = values[at];
      out[to] = 0;
      if (value) for (const [bit, colour] of chosen) if ((value >>> bit) & 1) { out[to] = colour; break; }
    }
};

// Numbers as people read them.
const shortest = (value) => { // as few digits as name this float32, or the number itself
  if (value === null || value === undefined) return "NaN";
  if (Number.isInteger(value)) return String(value);
  if (Math.fround(value) === value) for (let digits = 6; digits < 10; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(value);
};
const brief = (value) => value === 0 ? "0" : Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
const sexagesimal = (ra, dec) => {
  const parts = (value, digits) => {
    const unit = 10 ** digits, total = Math.round(Math.abs(value) * 3600 * unit), seconds = total / unit;
    const two = (n) => String(n).padStart(2, "0");
    const rest = (total % (60 * unit) / unit).toFixed(digits).padStart(digits + 3, "0");
    return [two(Math.floor(seconds / 3600)), two(Math.floor(seconds / 60) % 60), rest];
  };
  const hours = parts(((ra % 360) + 360) % 360 / 15, 4);
  if (hours[0] === "24") hours[0] = "00";
  return hours.join(":") + "  " + (dec < 0 ? "−" : "+") + parts(dec, 3).join(":");
};
