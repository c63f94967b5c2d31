//! Line plots as SVG, drawn here: a report must open anywhere, without scripts or anything fetched.

use std::fmt::Write;

/// The drawing's size and the room left of, below, above and right of the plot itself, in its own units.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 70.0;
const BELOW: f64 = 46.0;
const ABOVE: f64 = 12.0;
const RIGHT: f64 = 18.0;

/// Ticks on an axis, about.
const TICKS: f64 = 6.0;

/// Ticks on a logarithmic axis; with more, only those at 1, 10, 100 and so on stay.
const RUNGS_MAX: usize = 9;

/// A plot. Colours come from the page's styles `s1` to `s5`, in the order of the lines.
#[derive(Debug)]
pub(crate) struct Plot {
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    /// A part of the x axis that does not count, and what it is called.
    pub shaded: Option<(f64, f64, &'static str)>,
}

#[derive(Debug)]
pub(crate) struct Axis {
    /// What it shows, with its unit.
    pub label: &'static str,
    pub from: f64,
    pub to: f64,
    pub scale: Scale,
    /// Where the ticks are, and what stands there.
    pub ticks: Vec<(f64, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Log,
}

#[derive(Debug)]
pub(crate) struct Line {
    pub name: String,
    /// In order. Where y is not a number the line is broken: nothing is known there.
    pub points: Vec<(f64, f64)>,
}

impl Axis {
    /// From 0 to at least `to`, at round numbers.
    pub(crate) fn linear(label: &'static str, to: f64) -> Axis {
        let rough = (to / TICKS).max(f64::MIN_POSITIVE);
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|by| by * decade).find(|step| *step >= rough);
        let step = if to > 0.0 { step.unwrap_or(rough) } else { 1.0 };
        let count = (to / step).ceil().max(1.0) as usize;
        let ticks = (0..=count).map(|i| i as f64 * step).map(|at| (at, number(at))).collect();
        Axis { label, from: 0.0, to: count as f64 * step, scale: Scale::Linear, ticks }
    }

    /// The same, but ends at `to`.
    pub(crate) fn linear_to(label: &'static str, to: f64) -> Axis {
        let mut axis = Axis::linear(label, to);
        axis.to = to.max(f64::MIN_POSITIVE);
        axis.ticks.retain(|(at, _)| *at <= to);
        axis
    }

    /// Around positive values, by factors of ten.
    pub(crate) fn log(label: &'static str, values: impl Iterator<Item = f64> + Clone) -> Axis {
        let low = values.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let high = values.fold(0.0, f64::max);
        let (low, high) = if low.is_finite() { (low, high) } else { (1.0, 10.0) };
        // 1, 2 and 5 of each decade, or whole decades when there are many.
        let rungs: Vec<f64> = (-6..=8).flat_map(|e| [1.0, 2.0, 5.0].map(|by| by * 10_f64.powi(e))).collect();
        let around = |rungs: &[f64]| {
            let below = rungs.iter().rposition(|rung| *rung <= low).unwrap_or(0);
            let above = rungs.iter().position(|rung| *rung >= high).unwrap_or(rungs.len() - 1);
            rungs[below..=above.max(below + 1)].to_vec()
        };
        let fine = around(&rungs);
        let decades: Vec<f64> = rungs.into_iter().step_by(3).collect();
        let span = if fine.len() > RUNGS_MAX { around(&decades) } else { fine };
        let (from, to) = (span[0], span[span.len() - 1]);
        let ticks = span.into_iter().map(|at| (at, number(at))).collect();
        Axis { label, from, to, scale: Scale::Log, ticks }
    }

    /// Where a value lies, from 0 to 1; what lies outside is drawn at the edge.
    fn place(&self, value: f64) -> f64 {
        let on = |value: f64| if self.scale == Scale::Log { value.max(1e-12).log10() } else { value };
        ((on(value) - on(self.from)) / (on(self.to) - on(self.from))).clamp(0.0, 1.0)
    }
}

impl Plot {
    /// The figure's inside: a legend and the drawing. `described` says it in words for those who do not see it.
    pub(crate) fn svg(&self, described: &str) -> String {
        let mut out = String::new();
        self.draw(&mut out, described).expect("writing to a String does not fail");
        out
    }

    fn draw(&self, out: &mut String, described: &str) -> std::fmt::Result {
        let x = |value| LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT);
        let y = |value| HEIGHT - BELOW - self.y.place(value) * (HEIGHT - BELOW - ABOVE);
        let (bottom, right) = (HEIGHT - BELOW, WIDTH - RIGHT);
        write!(out, "<p class=\"legend\">")?;
        for (at, line) in self.lines.iter().enumerate() {
            let class = at + 1;
            write!(
                out,
                "<span><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"s{class}\" d=\"M0 4H24\"/></svg>{}\
                 </span>",
                escape(&line.name)
            )?;
        }
        write!(
            out,
            "</p>\n<div class=\"scroll\"><svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(described)
        )?;
        if let Some((from, to, what)) = self.shaded {
            let (from, to) = (x(from), x(to));
            writeln!(
                out,
                "<rect class=\"shade\" x=\"{from:.1}\" y=\"{ABOVE}\" width=\"{:.1}\" height=\"{:.1}\"/>\
                 <text class=\"note\" x=\"{:.1}\" y=\"{:.1}\">{what}</text>",
                to - from,
                bottom - ABOVE,
                from + 4.0,
                ABOVE + 12.0
            )?;
        }
        for (at, text) in &self.y.ticks {
            let at = y(*at);
            writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                at + 4.0
            )?;
        }
        for (at, text) in &self.x.ticks {
            let at = x(*at);
            writeln!(
                out,
                "<path class=\"grid\" d=\"M{at:.1} {ABOVE}V{bottom}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 17.0
            )?;
        }
        writeln!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {ABOVE}V{bottom}H{right}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            escape(self.x.label),
            (ABOVE + bottom) / 2.0,
            escape(self.y.label)
        )?;
        // The page draws each line thinner than the one before: where several lie on one another, all are seen.
        for (at, line) in self.lines.iter().enumerate().filter(|(_, line)| !line.points.is_empty()) {
            write!(out, "<path class=\"line s{}\" d=\"", at + 1)?;
            for piece in line.points.split(|point| point.1.is_nan()).filter(|piece| !piece.is_empty()) {
                for (i, point) in piece.iter().enumerate() {
                    write!(out, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, x(point.0), y(point.1))?;
                }
                // A single point would be a path of no length: its round cap shows it.
                write!(out, "{}", if piece.len() == 1 { "h0" } else { "" })?;
            }
            out.push_str("\"/>\n");
        }
        out.push_str("</svg></div>\n");
        Ok(())
    }
}

/// A number as people write it: thousands apart, no digits that say nothing.
pub(crate) fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 100.0 {
        let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
        let text = format!("{value:.digits$}");
        return if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        };
    }
    let whole = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text as it may stand in HTML, in or between tags.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Axis::linear("", 30.0)), ["0", "5", "10", "15", "20", "25", "30"]);
        assert_eq!(labels(&Axis::linear("", 0.45)), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(&Axis::linear("", 0.0)), ["0", "1"]);
        assert_eq!(labels(&Axis::linear_to("", 11.5)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&Axis::log("", [0.15, 3.0].into_iter())), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        let wide = Axis::log("", [0.05, 1_500.0].into_iter());
        assert_eq!((wide.from, wide.to), (0.01, 10_000.0));
        assert_eq!(labels(&wide), ["0.01", "0.1", "1", "10", "100", "1,000", "10,000"]);
        assert_eq!(labels(&Axis::log("", std::iter::empty())), ["1", "2", "5", "10"]);
        assert_eq!(labels(&Axis::log("", [4.0].into_iter())), ["2", "5"]);
    }

    #[test]
    fn values_lie_between_their_ticks() {
        let axis = Axis::log("", [1.0, 100.0].into_iter());
        assert!((axis.place(10.0) - 0.5).abs() < 1e-9);
        assert_eq!((axis.place(0.0), axis.place(1e9)), (0.0, 1.0));
        assert_eq!(Axis::linear("", 10.0).place(5.0), 0.5);
    }

    #[test]
    fn numbers() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (1.5, "1.5"),
            (12.345, "12.3"),
            (99.99, "100"),
            (1_234.0, "1,234"),
            (1_000_000.0, "1,000,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_plot_names_all_it_shows_and_escapes_it() {
        let line = |name: &str, points| Line { name: name.to_owned(), points };
        let plot = Plot {
            x: Axis::linear_to("time, s", 10.0),
            y: Axis::linear("rate <1/s>", 100.0),
            lines: vec![
                line("a & b", vec![(0.0, 1.0), (5.0, 50.0)]),
                line("one", vec![(1.0, 1.0), (2.0, f64::NAN), (3.0, 3.0), (4.0, 4.0)]),
            ],
            shaded: Some((0.0, 2.0, "warm-up")),
        };
        let svg = plot.svg("what \"it\" shows");
        for part in ["a &amp; b", "rate &lt;1/s&gt;", "&quot;it&quot;", "warm-up", "class=\"line s1\"", "h0M"]
        {
            assert!(svg.contains(part), "no {part} in\n{svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
