// What a person would see at once, measured: what is too wide, what lies on what, what is hard to read.
() => {
  const shown = [...document.body.querySelectorAll("*")].filter(
    (each) => each.checkVisibility() && !["SCRIPT", "STYLE"].includes(each.tagName),
  );
  const name = (each) => `${each.tagName.toLowerCase()}.${each.getAttribute("class") ?? ""} "${
    each.textContent.trim().slice(0, 30)}"`;
  const own = (each) => [...each.childNodes].filter(
    (node) => node.nodeType === Node.TEXT_NODE && node.data.trim(),
  );

  const within = (rect, box) => ({
    left: Math.max(rect.left, box.left), right: Math.min(rect.right, box.right),
    top: Math.max(rect.top, box.top), bottom: Math.min(rect.bottom, box.bottom),
  });
  const pieces = [];
  for (const each of shown) {
    const scroller = each.closest(".box, pre");
    for (const node of own(each)) {
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const whole of range.getClientRects()) {
        const rect = scroller ? within(whole, scroller.getBoundingClientRect()) : whole;
        if (rect.right - rect.left > 0 && rect.bottom - rect.top > 0 && rect.right > 0) {
          pieces.push({ of: each.closest("text") ?? each, each, rect });
        }
      }
    }
  }
  const overlaps = [];
  pieces.forEach((a, index) => {
    for (const b of pieces.slice(index + 1)) {
      const both = within(a.rect, b.rect);
      if (a.of !== b.of && both.right - both.left > 1.5 && both.bottom - both.top > 2.5) {
        overlaps.push(`${name(a.each)} on ${name(b.each)}`);
      }
    }
  });

  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const ink = canvas.getContext("2d", { willReadFrequently: true });
  const painted = (colours) => {
    for (const colour of colours) {
      ink.fillStyle = colour;
      ink.fillRect(0, 0, 1, 1);
    }
    return [...ink.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  for (const each of shown.filter((one) => own(one).length)) {
    const under = [];
    for (let up = each; up; up = up.parentElement) under.unshift(getComputedStyle(up).backgroundColor);
    const style = getComputedStyle(each);
    const back = painted(["white", ...under]);
    const front = painted(["white", ...under, each.closest("svg") ? style.fill : style.color]);
    const [low, high] = [luminance(back), luminance(front)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) faint.push(`${name(each)} ${contrast.toFixed(2)}`);
  }

  const wide = shown.filter((each) => {
    const box = each.getBoundingClientRect();
    return box.right > innerWidth + 1 && !each.closest(".box, pre");
  });
  return {
    texts: pieces.length,
    overlaps,
    faint,
    wide: wide.map(name),
    overflow: document.documentElement.scrollWidth - innerWidth,
  };
}
