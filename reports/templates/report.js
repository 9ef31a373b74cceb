"use strict";
// Adds to the page what text cannot do: a cursor over all charts, and a filter for the timeline.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const svg = document.querySelector(".picture svg");
  const output = document.querySelector(".picture output");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("class", "cursor");
  svg.append(line);
  let atS = null;

  function nearest(points, at) {
    let best = null;
    for (const point of points) {
      if (best === null || Math.abs(point[0] - at) < Math.abs(best[0] - at)) best = point;
    }
    return best !== null && Math.abs(best[0] - at) <= Math.max(1.0, data.end_s / 300) ? best[1] : null;
  }

  function show(at) {
    atS = Math.max(0, Math.min(data.end_s, at));
    const wide = data.width - data.left - data.right;
    const x = data.left + (wide * atS) / data.end_s;
    line.setAttribute("d", "M" + x + " 0V" + svg.viewBox.baseVal.height);
    output.textContent = "";
    const time = document.createElement("b");
    time.textContent = atS.toFixed(1) + " s";
    output.append(time);
    for (const chart of data.charts) {
      for (const one of chart.lines) {
        const value = nearest(one.points, atS);
        const part = document.createElement("span");
        part.className = "key " + one.kind;
        part.textContent = one.name + " " + (value === null ? "–" : Math.round(value * 10) / 10 + " " + chart.unit);
        output.append(part);
      }
    }
  }

  function hide() {
    atS = null;
    line.removeAttribute("d");
    output.textContent = "";
  }

  svg.addEventListener("pointermove", function (event) {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * data.width;
    const wide = data.width - data.left - data.right;
    if (x < data.left) hide();
    else show(((x - data.left) / wide) * data.end_s);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("keydown", function (event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show((atS === null ? 0 : atS) + step * Math.max(0.5, data.end_s / 200));
  });

  const timeline = document.getElementById("timeline");
  const rows = Array.from(timeline.querySelectorAll("tr[data-kind]"));
  const off = new Set();
  const bar = document.createElement("p");
  bar.className = "filter";
  for (const kind of new Set(rows.map((row) => row.dataset.kind))) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = kind + " " + rows.filter((row) => row.dataset.kind === kind).length;
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", function () {
      const on = off.delete(kind);
      if (!on) off.add(kind);
      button.setAttribute("aria-pressed", String(on));
      for (const row of rows) row.hidden = off.has(row.dataset.kind);
    });
    bar.append(button);
  }
  timeline.querySelector("table").before(bar);

  // A link to a row that the filter hides shows it again.
  window.addEventListener("hashchange", function () {
    const row = document.getElementById(location.hash.slice(1));
    if (row && row.hidden) row.hidden = false;
    if (row) row.scrollIntoView({ block: "center" });
  });
})();
