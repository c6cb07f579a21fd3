// A name is typed where it stands: Enter keeps it, Escape does not. A refusal is shown below it.

/** Resolves when the editing is over; `keep(value)` may refuse, and is asked again then. */
export function edit(row, before, keep) {
  const cell = row.querySelector(".cell-name");
  const old = [...cell.childNodes];
  const field = document.createElement("input");
  field.className = "file-edit";
  field.value = before;
  field.setAttribute("aria-label", before ? `New name of ${before}` : "Name of the new folder");
  field.autocomplete = "off";
  field.spellcheck = false;
  field.maxLength = 255;
  const line = document.createElement("span");
  line.className = "file-name";
  line.append(field);
  const why = document.createElement("span");
  why.className = "file-edit-why";
  why.setAttribute("role", "alert");
  cell.replaceChildren(line, why);
  field.focus();
  const dot = before.lastIndexOf(".");
  field.setSelectionRange(0, dot > 0 ? dot : before.length);

  return new Promise((resolve) => {
    let isOver = false;
    const end = () => {
      if (isOver) return;
      isOver = true;
      cell.replaceChildren(...old);
      cell.querySelector("a")?.focus();
      resolve();
    };
    const tryKeep = async () => {
      const value = field.value;
      if (isOver || field.disabled) return;
      if (!value || value === before) {
        end();
        return;
      }
      field.disabled = true;
      try {
        await keep(value);
        end();
      } catch (error) {
        field.disabled = false;
        field.setAttribute("aria-invalid", "true");
        why.textContent = error.message;
        field.focus();
      }
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter") tryKeep();
      if (event.key === "Escape") end();
      event.stopPropagation();
    });
    field.addEventListener("blur", () => {
      if (field.getAttribute("aria-invalid")) end();
      else tryKeep();
    });
  });
}
