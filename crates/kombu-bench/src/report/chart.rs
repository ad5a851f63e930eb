//! The ratios as bars.

use std::fmt::Write as _;

use super::columns::{ratios, significant};
use crate::case::{Aim, Measured};
use crate::sample::{Sample, Spread};

/// Draws every case that has an aim: who does how many times what the raw contender does.
pub(super) fn draw(cases: &[Measured]) -> String {
    let groups: Vec<_> = cases.iter().filter_map(|case| group(case, case.aim?)).collect();
    let bars = groups.iter().map(|group| group.bars.len()).sum::<usize>();
    let height = TOP + groups.len() * (TITLE + GAP) + bars * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <style>text {{ fill: #222 }} .ours {{ fill: #c4532b }} .other {{ fill: #8a9bb0 }} \
         .python {{ fill: #d9b44a }} line {{ stroke: #222 }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} line {{ stroke: #ddd }} }}</style>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">Messages a second as a multiple of the raw \
         contender's (line at 1); the whisker spans all rounds</text>\n"
    );
    let mut y = TOP;
    for group in &groups {
        y += TITLE;
        let _infallible = writeln!(
            svg,
            "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{} (1 = {})</text>",
            y - 5,
            escaped(group.title),
            escaped(group.raw)
        );
        let begun = y;
        for bar in &group.bars {
            svg.push_str(&bar.draw(y, group.scale));
            y += ROW;
        }
        let one = LEFT as f64 + group.scale;
        let _infallible =
            writeln!(svg, "<line x1=\"{one:.1}\" y1=\"{begun}\" x2=\"{one:.1}\" y2=\"{y}\"/>");
        y += GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

/// A case.
struct Group<'cases> {
    title: &'cases str,
    raw: &'static str,
    bars: Vec<Bar>,
    /// Pixels of a ratio of 1.
    scale: f64,
}

/// A contender.
struct Bar {
    name: &'static str,
    class: &'static str,
    ratio: Spread,
}

fn group(case: &Measured, aim: Aim) -> Option<Group<'_>> {
    let raw = case.samples(aim.raw)?;
    let bars: Vec<Bar> = case
        .rows
        .iter()
        .filter(|(name, _)| *name != aim.raw)
        .filter_map(|(name, samples)| {
            let class = match *name {
                name if name.starts_with("Python") => "python",
                name if name.starts_with("kombu") => "ours",
                _ => "other",
            };
            Some(Bar { name, class, ratio: ratios(samples, raw, Sample::rate)? })
        })
        .collect();
    let most = bars.iter().map(|bar| bar.ratio.most).fold(1.0, f64::max);
    Some(Group { title: &case.title, raw: aim.raw, bars, scale: SPAN as f64 / most })
}

impl Bar {
    fn draw(&self, y: usize, scale: f64) -> String {
        let middle = y + ROW / 2;
        let left = LEFT as f64;
        let [least, median, most] = [self.ratio.least, self.ratio.median, self.ratio.most]
            .map(|ratio| left + ratio * scale);
        format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{}\" x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\"/>\
             <line x1=\"{least:.1}\" y1=\"{middle}\" x2=\"{most:.1}\" y2=\"{middle}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>\n",
            LEFT - 6,
            middle + 4,
            escaped(self.name),
            self.class,
            y + 2,
            median - left,
            ROW - 4,
            most.max(left + scale) + 6.0,
            middle + 4,
            significant(self.ratio.median),
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const WIDTH: usize = 760;
/// Where bars begin, and how long the longest is.
const LEFT: usize = 170;
const SPAN: usize = 520;
const TOP: usize = 34;
const TITLE: usize = 20;
const ROW: usize = 18;
const GAP: usize = 10;
