"use strict";
// Tables are sorted by the buttons in their heads: numbers by value, words by the order of the page's language.
(() => {
  const language = document.documentElement.lang || "en";
  const collator = new Intl.Collator(language, { numeric: true, sensitivity: "base" });
  const parts = new Intl.NumberFormat(language).formatToParts(12345.6);
  const decimal = parts.find((part) => part.type === "decimal").value;
  const FEWEST_ROWS = 3;

  // "−1 234,5 dB" in a page with decimal commas: -1234.5. Nothing that begins with a number: null.
  function numberOf(text) {
    let plain = text.replace(/[\s\u00a0\u202f]+(?=\d{3}(?!\d))/g, "").replace(/^[\s≈~<>≤≥]+/, "").replace(/−/g, "-");
    plain = decimal === "," ? plain.replace(/(\d),(?=\d)/g, "$1.") : plain.replace(/(\d),(?=\d{3}(?!\d))/g, "$1");
    if (/^\+?∞/.test(plain)) return Infinity;
    const found = /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?/i.exec(plain);
    return found && !/^[A-Za-z\u0400-\u04ff]/.test(plain.slice(found[0].length)) ? Number(found[0]) : null;
  }

  // What a cell shows first, without the smaller print below it.
  function textOf(cell) {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("small, .spread").forEach((part) => part.remove());
    return copy.textContent.trim();
  }

  // The cell of a row that stands under a column; none where one cell spans several columns.
  function cellAt(row, column) {
    let at = 0;
    for (const cell of row.cells) {
      if (at === column) return cell.colSpan > 1 ? null : cell;
      at += cell.colSpan;
      if (at > column) return null;
    }
    return null;
  }

  function valueOf(row, column) {
    const cell = cellAt(row, column);
    if (!cell) return { number: null, text: "" };
    if (cell.dataset.value !== undefined) {
      const number = Number(cell.dataset.value);
      return Number.isNaN(number) ? { number: null, text: cell.dataset.value } : { number, text: cell.dataset.value };
    }
    const text = textOf(cell);
    return { number: numberOf(text), text: /^[–—-]?$/.test(text) ? "" : text };
  }

  // Rows in the order of a column; those without a value are last, whichever way it is sorted. Rows that stand aside
  // keep the end of the table that they are at.
  function sort(table, column, direction) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row, at) => ({ row, at: Number(row.dataset.at ?? at), ...valueOf(row, column) }));
    rows.forEach(({ row, at }) => { row.dataset.at = at; });
    const filled = rows.filter((item) => item.text !== "" || item.number !== null);
    const numeric = filled.filter((item) => item.number !== null).length * 2 > filled.length;
    const sign = direction === "descending" ? -1 : 1;
    const missing = ({ row, at, number, text }) => {
      if (row.matches(".aside")) return at * 2 < rows.length ? -1 : 2;
      return Number(numeric ? number === null : text === "");
    };
    const differ = (a, b) => numeric ? (a.number > b.number) - (a.number < b.number) : collator.compare(a.text, b.text);
    rows.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : sign * differ(a, b)) || a.at - b.at);
    body.append(...rows.map((item) => item.row));
  }

  function makeSortable(table) {
    const head = table.tHead && table.tHead.rows[table.tHead.rows.length - 1];
    if (!head || table.tBodies.length !== 1 || table.tBodies[0].rows.length < FEWEST_ROWS) return;
    if (table.tBodies[0].querySelector("[rowspan]")) return;
    let at = 0;
    for (const cell of head.cells) {
      const column = at;
      at += cell.colSpan;
      if (cell.tagName !== "TH" || cell.colSpan > 1 || !cell.textContent.trim() || cell.querySelector("a")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      const below = Array.from(cell.childNodes).find((node) => node.nodeName === "SMALL");
      while (cell.firstChild && cell.firstChild !== below) button.append(cell.firstChild);
      cell.prepend(button);
      button.addEventListener("click", () => {
        const direction = cell.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        for (const other of head.cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", direction);
        sort(table, column, direction);
      });
    }
  }

  document.querySelectorAll(".table table, table.glance").forEach(makeSortable);
})();
