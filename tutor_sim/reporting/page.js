"use strict";
// Tables sort by a click on a column's head: numbers as numbers, everything else as text.
const numeric = (cell) => {
  const text = cell.dataset.value ?? cell.textContent.replace(/[,\s<]/g, "").replace("−", "-");
  const value = parseFloat(text);
  return Number.isNaN(value) ? null : value;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      const order = (a, b) => {
        const [x, y] = [a.cells[column], b.cells[column]];
        const [u, v] = [numeric(x), numeric(y)];
        if (u !== null && v !== null) return rising ? u - v : v - u;
        if (u !== null || v !== null) return u === null ? 1 : -1;
        return x.textContent.localeCompare(y.textContent) * (rising ? -1 : 1);
      };
      table.tBodies[0].append(...rows.sort(order));
    });
  });
}
// The details of a cell are said below the overview, or as a tool tip elsewhere.
const detail = document.getElementById("detail");
for (const cell of document.querySelectorAll("[data-detail]")) {
  cell.title = cell.dataset.detail;
  if (!cell.closest("table.heat")) continue;
  for (const event of ["mouseenter", "focus"])
    cell.addEventListener(event, () => { detail.textContent = cell.dataset.detail; });
}
// Pointing at a tutor's name fades all others in the pictures.
const pick = (number) => {
  document.body.classList.toggle("picking", number !== null);
  for (const part of document.querySelectorAll("[data-tutor]"))
    part.classList.toggle("picked", part.dataset.tutor === number);
};
for (const name of document.querySelectorAll("[data-pick]")) {
  for (const event of ["mouseenter", "focus"]) name.addEventListener(event, () => pick(name.dataset.pick));
  for (const event of ["mouseleave", "blur"]) name.addEventListener(event, () => pick(null));
}
// What is folded away belongs on paper, too, but for whole configurations.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open]):not(.configuration)")];
  for (const part of folded) part.open = true;
});
addEventListener("afterprint", () => { for (const part of folded) part.open = false; });
