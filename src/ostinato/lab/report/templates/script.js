"use strict";

// The button shows the page in the other colours than the reader's system asks for.
{
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    label();
  });
  system.addEventListener("change", label);
  label();
  button.hidden = false;
}

// A digit, read row by row: buttons choose it, a slider says how many rows have been read.
for (const reading of document.querySelectorAll(".reading")) {
  const rows = Number(reading.dataset.rows);
  const digits = [...reading.querySelectorAll(".digit")];
  const choices = [...reading.querySelectorAll(".choice button")];
  const slider = reading.querySelector("input");
  const said = reading.querySelector(".walk output");
  const play = reading.querySelector(".play");
  let clock = null;

  const show = () => {
    const row = Number(slider.value);
    said.textContent = row;
    reading.style.setProperty("--read", row / rows);
    for (const digit of digits) {
      const after = JSON.parse(digit.dataset.after)[row - 1];
      const most = Math.max(...after);
      digit.querySelectorAll(".classes li").forEach((line, index) => {
        line.querySelector("rect").setAttribute("width", `${100 * after[index]}%`);
        line.querySelector("output").textContent = `${Math.round(100 * after[index])} %`;
        line.classList.toggle("best", after[index] === most);
      });
    }
  };
  const choose = (index) => {
    digits.forEach((digit, each) => { digit.hidden = each !== index; });
    choices.forEach((button, each) => { button.setAttribute("aria-pressed", String(each === index)); });
  };
  const stop = () => {
    clearInterval(clock);
    clock = null;
    play.textContent = "Play";
  };
  const start = () => {
    if (Number(slider.value) === rows) slider.value = 1;
    play.textContent = "Stop";
    show();
    clock = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) === rows) stop();
    }, 150);
  };

  slider.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => (clock === null ? start() : stop()));
  choices.forEach((button, index) => button.addEventListener("click", () => choose(index)));
  reading.querySelector(".controls").hidden = false;
  choose(0);
  show();
}
