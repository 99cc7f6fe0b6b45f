"use strict";

// A report lies in a folder of reports/ or runs/; opened through latest it is one folder higher, and so is what it links.
if (/\/latest\/[^/]*$/.test(location.pathname)) {
  for (const link of document.querySelectorAll("a.run")) {
    link.setAttribute("href", link.getAttribute("href").replace("../../", "../"));
  }
}

// Headings sort their table; without this script they are plain headings.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const one of headings) one.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const isNumber = heading.classList.contains("n");
      const order = (a, b) => isNumber ? value(a) - value(b) : value(a).localeCompare(value(b), undefined, { numeric: true });
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => sign * order(a, b)));
    });
  });
}

// A field above a table leaves only the rows that hold its words.
for (const tools of document.querySelectorAll(".tools")) {
  const rows = [...document.getElementById(tools.dataset.table).tBodies[0].rows];
  const field = tools.querySelector("input");
  const said = tools.querySelector("output");
  tools.hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    said.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
}

// The map tells the text nearest to the pointer; left and right arrow keys go from point to point.
const data = document.getElementById("map-data");
if (data) {
  const points = JSON.parse(data.textContent).sort((a, b) => a[0] - b[0]);
  const holder = document.getElementById("map-figure");
  const svg = holder.querySelector("svg");
  const said = document.getElementById("map-said");
  const ring = document.createElementNS(svg.namespaceURI, "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", 7);
  let at = -1;
  const show = (i) => {
    at = Math.min(Math.max(i, 0), points.length - 1);
    const [x, y, label, predicted, text] = points[at];
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    svg.append(ring);
    const verdict = label === predicted ? `“${label}”, right` : `“${label}”, predicted “${predicted}”`;
    said.textContent = `${text} (${verdict})`;
  };
  const point = (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let nearest = 0;
    let smallest = Infinity;
    points.forEach(([x, y], i) => {
      const far = (x - place.x) ** 2 + (y - place.y) ** 2;
      if (far < smallest) [nearest, smallest] = [i, far];
    });
    show(nearest);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  holder.tabIndex = 0;
  holder.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(at + step);
  });
  said.textContent = "Point at the map, or go through it with the left and right arrow keys: here stands the text.";
}

// On paper all is open but the numbers of the figures: a page each, and in report.json.
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details:not(.numbers)")) one.open = true;
});
