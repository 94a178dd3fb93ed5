// Values along the row and the column through a pixel.
$("cuts").hidden = Boolean(facts.inside);
let cutting = false, cutAgain = null;
async function cutThrough(px, py) { // one question at a time; the last pixel wins
  if ($("cuts").hidden || !$("cutting").checked) return;
  const [ny, nx] = layer().shape, x = Math.round(px), y = Math.round(py);
  if (x < 0 || y < 0 || x >= nx || y >= ny) return;
  if (cutting) { cutAgain = [px, py]; return; }
  cutting = true;
  try { drawCut(await answers.cut(key(), x, y), nx, ny, x, y); } catch (error) { note(error); }
  cutting = false;
  if (cutAgain) { const next = cutAgain; cutAgain = null; cutThrough(...next); }
}
function drawCut(values, nx, ny, x, y) {
  const box = $("cut"), context = box.getContext("2d"), { width, height } = box, tall = height / 2 - 6;
  context.clearRect(0, 0, width, height);
  const ends = [];
  [[values.subarray(0, nx), "#55cfdc", x], [values.subarray(nx, nx + ny), "#ffd24a", y]].forEach(([line, colour, at], n) => {
    let low = Infinity, high = -Infinity;
    for (const value of line) if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
    const top = n * (height / 2) + 3, span = high - low || 1, place = (value) => top + tall - tall * (value - low) / span;
    ends.push(`${n ? "column" : "row"} ${n ? x : y}: ${Number.isFinite(low) ? `${brief(low)} to ${brief(high)}` : "no values"}`);
    context.fillStyle = "#4a5870";
    context.fillRect((at + 0.5) / line.length * width, top, 1, tall);
    context.strokeStyle = colour;
    context.lineWidth = 1.2;
    context.beginPath();
    if (line.length <= width) line.forEach((value, one) => { if (Number.isFinite(value)) context.lineTo((one + 0.5) / line.length * width, place(value)); });
    else for (let column = 0; column < width; column++) { // least and largest value of each screen column: no star is lost
      const from = Math.floor(column * line.length / width), to = Math.max(from + 1, Math.floor((column + 1) * line.length / width));
      let least = Infinity, most = -Infinity;
      for (let one = from; one < to; one++) if (Number.isFinite(line[one])) { least = Math.min(least, line[one]); most = Math.max(most, line[one]); }
      if (least > most) continue;
      context.lineTo(column, place(least));
      context.lineTo(column, place(most));
    }
    context.stroke();
  });
  $("cutends").textContent = ends.join(" · ");
  Object.assign(box.dataset, { x, y, at: values[x], up: values[nx + y] });
}
$("cutting").addEventListener("input", () => {
  $("cut").hidden = $("cutends").hidden = !$("cutting").checked;
  if (state.cursor) cutThrough(state.cursor.x, state.cursor.y);
});
