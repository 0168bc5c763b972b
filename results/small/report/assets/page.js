// What all pages share: the theme, and tables that sort.
"use strict";

const Theme = {
  stored() {
    try { return localStorage.getItem("theme"); } catch { return null; }
  },
  isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  },
  choose(theme) {
    document.documentElement.dataset.theme = theme;
    // Some browsers forbid pages opened from disk to store anything.
    try { localStorage.setItem("theme", theme); } catch { /* the choice then lasts for this page */ }
  },
};
if (Theme.stored()) document.documentElement.dataset.theme = Theme.stored();

function makeSortable(table) {
  const heads = table.tHead.rows[0]?.cells ?? [];
  Array.from(heads).forEach((head, column) => {
    if (head.querySelector("button")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      sortRows(table.tBodies[0], column, rising ? 1 : -1);
    });
  });
}

function sortRows(body, column, direction) {
  const key = (row) => {
    const cell = row.cells[column];
    const text = cell.dataset.key ?? cell.querySelector("data")?.value ?? cell.textContent.trim();
    const number = Number(text);
    return { text, number: text === "" || text === "–" ? NaN : number };
  };
  const compare = (a, b) => {
    if (Number.isNaN(a.number) && Number.isNaN(b.number)) return direction * a.text.localeCompare(b.text);
    if (Number.isNaN(a.number)) return 1;
    if (Number.isNaN(b.number)) return -1;
    return direction * (a.number - b.number);
  };
  const rows = Array.from(body.rows, (row) => [key(row), row]);
  rows.sort((a, b) => compare(a[0], b[0]));
  body.append(...rows.map((pair) => pair[1]));
}

document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const label = () => { button.textContent = Theme.isDark() ? "Light" : "Dark"; };
  button.setAttribute("aria-label", "Change between light and dark");
  button.addEventListener("click", () => {
    Theme.choose(Theme.isDark() ? "light" : "dark");
    label();
    document.dispatchEvent(new Event("themechange"));
  });
  label();
  document.querySelectorAll("table.sortable").forEach((table) => { if (table.tHead?.rows.length) makeSortable(table); });
});
