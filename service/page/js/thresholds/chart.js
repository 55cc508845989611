/** Scales, and the parts that charts share. */

/** From values between `low` and `high` to pixels between `start` and `end`, and back. */
export function scale(low, high, start, end) {
  const slope = (end - start) / (high - low || 1);
  return {
    at: (value) => start + (value - low) * slope,
    back: (pixel) => low + (pixel - start) / slope,
  };
}

/** Round numbers on an axis, at least `wanted` of them. */
export function ticks(low, high, wanted) {
  const rough = (high - low || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [5, 2, 1].map((factor) => factor * power).find((each) => each <= rough * (1 + 1e-9));
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => {
    const value = (first + index) * step;
    return { value, text: value.toFixed(digits).replace("-", "−") };
  });
}

/** The outline of equally wide bars over a base line, in one path. */
export function bars(counts, left, width, base, height, log) {
  const most = Math.max(1, ...counts);
  const tall = (number) =>
    log ? (height * Math.log1p(number)) / Math.log1p(most) : (height * number) / most;
  const bin = width / counts.length;
  const gap = bin > 4 ? 1 : 0;
  return counts
    .map((number, index) => {
      if (!number) return "";
      // Whatever is there is seen.
      const up = Math.max(1.5, tall(number));
      return `M${left + index * bin} ${base}v${-up}h${bin - gap}v${up}z`;
    })
    .join("");
}

/** A line through points; a gap where one has no value. */
export function line(points) {
  let pen = "M";
  return points
    .map(([x, y]) => {
      if (y === null) {
        pen = "M";
        return "";
      }
      const part = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      return part;
    })
    .join("");
}
