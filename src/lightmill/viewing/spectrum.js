// Values of one pixel in all planes: the spectrum of a cube, the ramp of a detector.
const micrometres = (value) => `${Number(value.toPrecision(6))} µm`;
let lookedAt = null, looking = false, lookAgain = null; // x, y, values and errors that are drawn
function spectrumHeading() {
  const planes = layer().axes.reduce((n, axis) => n * axis.length, 1);
  $("spectrum").hidden = Boolean(facts.inside) || planes < 2 || layer().kind !== "values";
  $("spectrumname").textContent = layer().channels.length ? "Spectrum" : "Planes";
  if ($("through").checked && lookedAt) lookThrough(lookedAt.x, lookedAt.y); // of the extension that is shown now
}
async function lookThrough(px, py) { // one question at a time; the last pixel wins
  if ($("spectrum").hidden || !$("through").checked) return;
  const [ny, nx] = layer().shape, x = Math.round(px), y = Math.round(py), asked = { ...key() };
  if (x < 0 || y < 0 || x >= nx || y >= ny) return;
  if (looking) { lookAgain = [px, py]; return; }
  looking = true;
  try {
    const same = lookedAt && lookedAt.x === x && lookedAt.y === y && lookedAt.of === `${asked.file} ${asked.layer} ${file().version}`;
    if (!same) {
      const found = await answers.through(asked, x, y), n = found.length / 2;
      lookedAt = { x, y, values: found.subarray(0, n), errors: found.subarray(n), of: `${asked.file} ${asked.layer} ${file().version}` };
    }
    drawSpectrum();
  } catch (error) { note(error); }
  looking = false;
  if (lookAgain) { const next = lookAgain; lookAgain = null; lookThrough(...next); }
}
function drawSpectrum() {
  const { x, y, values, errors } = lookedAt, box = $("line"), context = box.getContext("2d"), { width, height } = box, { channels, unit } = layer();
  let low = Infinity, high = -Infinity;
  for (const value of values) if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
  const span = high - low || 1, across = (n) => (n + 0.5) / values.length * width, up = (value) => 4 + (height - 8) * (1 - (value - low) / span);
  context.clearRect(0, 0, width, height);
  context.fillStyle = "#4a5870";
  context.fillRect(across(state.plane) - 0.75, 0, 1.5, height); // the plane that is shown
  context.fillStyle = "#55cfdc40";
  values.forEach((value, n) => { if (errors[n] > 0) context.fillRect(across(n - 0.5), up(value + errors[n]), width / values.length, up(value - errors[n]) - up(value + errors[n])); });
  context.strokeStyle = "#55cfdc";
  context.lineWidth = 1.4;
  context.beginPath();
  let pen = false; // planes without a value leave a gap
  values.forEach((value, n) => { if (!Number.isFinite(value)) pen = false; else { context[pen ? "lineTo" : "moveTo"](across(n), up(value)); pen = true; } });
  context.stroke();
  const ends = channels.length ? `${micrometres(channels[0])} to ${micrometres(channels[channels.length - 1])}` : `planes 0 to ${values.length - 1}`;
  $("lineends").textContent = `pixel ${x}, ${y}: ${ends} · ${Number.isFinite(low) ? `${brief(low)} to ${brief(high)} ${unit}` : "no values"}`;
  Object.assign(box.dataset, { x, y, at: values[state.plane], of: lookedAt.of, planes: values.length });
}
$("line").addEventListener("click", (event) => {
  const { left, width } = $("line").getBoundingClientRect(), planes = lookedAt.values.length;
  show({ plane: Math.min(planes - 1, Math.max(0, Math.floor((event.clientX - left) / width * planes))) });
});
$("through").addEventListener("input", () => {
  $("line").hidden = $("lineends").hidden = !$("through").checked;
  if (state.cursor) lookThrough(state.cursor.x, state.cursor.y);
});
