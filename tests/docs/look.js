// What is wrong with how the page looks, as a list of sentences.
(async () => {
  const LEAST_PIXELS = 12;
  const LEAST_CONTRAST = 4.5;
  const mistakes = [];

  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) {
    mistakes.push(`wider than the window by ${page.scrollWidth - page.clientWidth} pixels`);
  }

  for (const image of document.images) {
    if (getComputedStyle(image).display === "none") continue;
    image.loading = "eager";
    await image.decode().catch(() => mistakes.push(`not loaded: ${image.src}`));
  }

  const numbers = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const over = (top, under) => {
    const alpha = top[3] === undefined ? 1 : top[3];
    return [0, 1, 2].map((at) => top[at] * alpha + under[at] * (1 - alpha));
  };
  const background = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      layers.push(numbers(getComputedStyle(one).backgroundColor));
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const luminance = (color) => {
    const [red, green, blue] = color.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (element) => {
    const under = background(element);
    const over_ = over(numbers(getComputedStyle(element).color), under);
    const [dark, light] = [luminance(under), luminance(over_)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const isSeen = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    [...element.getClientRects()].some((box) => box.width > 1 && box.height > 1);

  const looked = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    if (!text || looked.has(element) || !isSeen(element)) continue;
    looked.add(element);
    const size = parseFloat(getComputedStyle(element).fontSize);
    if (size < LEAST_PIXELS) mistakes.push(`${size}px: ${text.slice(0, 40)}`);
    const found = contrast(element);
    if (found < LEAST_CONTRAST) mistakes.push(`contrast ${found.toFixed(1)}: ${text.slice(0, 40)}`);
  }
  return mistakes.slice(0, 20);
})()
