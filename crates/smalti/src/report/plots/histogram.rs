//! Scores of all samples, with the kept part in colour: shows at once whether a rule takes the easy end, the hard end or
//! everything alike. The strip below shows the share kept of each bin, which the bars hide where bins differ in height.

use super::axis::{self, Axis, Spacing};
use super::{Figure, Panel, Room};
use crate::report::data::{Bin, EasyEnd, Histogram, Page};
use crate::report::svg::{Anchor, Svg, fit};
use crate::report::words;

const HEIGHT: f64 = 252.0;

/// The figure, if a histogram has a sample in a bin.
pub fn figure(page: &Page) -> Option<Figure> {
    let drawn: Vec<&Histogram> = page.histograms.iter().filter(|histogram| samples(histogram).0 > 0).collect();
    let panels = drawn.iter().map(|histogram| {
        let (all, kept) = samples(histogram);
        let title = format!("{}: {} of {} kept", histogram.title, words::thousands(kept), words::thousands(all));
        Panel { title, wide: None, narrow: draw(histogram) }
    });
    let panels: Vec<Panel> = panels.collect();
    let caption = "Number of training images by score, each image once; the coloured part is kept. The strip below the bars has \
                   the more colour the larger the kept share of a bin is. These are counts of one selection, so there is no spread to show."
        .to_owned();
    (!panels.is_empty()).then_some(Figure { name: "scores", panels, caption })
}

/// All samples, and the kept ones among them.
fn samples(histogram: &Histogram) -> (u64, u64) {
    let bins = good_bins(histogram);
    let kept: u64 = bins.iter().map(|bin| u64::from(bin.kept)).sum();
    (kept + bins.iter().map(|bin| u64::from(bin.dropped)).sum::<u64>(), kept)
}

fn good_bins(histogram: &Histogram) -> Vec<&Bin> {
    histogram.bins.iter().filter(|bin| bin.low.is_finite() && bin.high.is_finite() && bin.low < bin.high).collect()
}

fn draw(histogram: &Histogram) -> Svg {
    let bins = good_bins(histogram);
    let width = Room::Narrow.width();
    let (left, right, top, bottom) = (46.0, width - 8.0, 26.0, HEIGHT - 60.0);
    let total = |bin: &Bin| f64::from(bin.kept) + f64::from(bin.dropped);
    let highest = bins.iter().map(|bin| total(bin)).fold(1.0, f64::max);
    let y_axis = Axis::new(Spacing::Linear, (0.0, highest * 1.03), (bottom, top));
    let low = bins.iter().map(|bin| bin.low).fold(f64::MAX, f64::min);
    let high = bins.iter().map(|bin| bin.high).fold(f64::MIN, f64::max);
    let x_axis = Axis::new(Spacing::Linear, (low, high), (left, right));
    let mut svg = Svg::new(width, HEIGHT, &format!("{}: number of images by score", histogram.title));
    svg.text("axis-title", (0.0, 12.0), Anchor::Start, "images");
    for tick in y_axis.ticks(4) {
        svg.line("grid", (left, y_axis.at(tick)), (right, y_axis.at(tick)));
        svg.text("tick", (left - 6.0, y_axis.at(tick) + 4.0), Anchor::End, &axis::label(tick));
    }
    for bin in bins {
        draw_bin(&mut svg, bin, &x_axis, &y_axis, bottom);
    }
    svg.line("axis", (left, bottom), (right, bottom));
    let strip = bottom + 4.0;
    for tick in x_axis.apart(&x_axis.ticks(5), 30.0) {
        svg.line("tick-mark", (x_axis.at(tick), strip + 8.0), (x_axis.at(tick), strip + 12.0));
        svg.text("tick", (x_axis.at(tick), strip + 25.0), Anchor::Middle, &axis::label(tick));
    }
    let (easy, hard) = match histogram.easy_end {
        EasyEnd::Low => ((left, Anchor::Start, "← easy"), (right, Anchor::End, "hard →")),
        EasyEnd::High => ((right, Anchor::End, "easy →"), (left, Anchor::Start, "← hard")),
    };
    for (x, anchor, word) in [easy, hard] {
        svg.text("axis-title", (x, HEIGHT - 8.0), anchor, word);
    }
    let room = right - left - 110.0;
    svg.text("axis-title", ((left + right) / 2.0, HEIGHT - 8.0), Anchor::Middle, &fit(&histogram.x_label, 12.0, room));
    svg
}

/// The bar of a bin, kept part below, and its piece of the strip. A kept part too small to see is drawn one pixel high.
fn draw_bin(svg: &mut Svg, bin: &Bin, x_axis: &Axis, y_axis: &Axis, bottom: f64) {
    let (x, width) = (x_axis.at(bin.low), x_axis.at(bin.high) - x_axis.at(bin.low));
    let bar = (x + 0.5, (width - 1.0).max(0.5));
    let all = f64::from(bin.kept) + f64::from(bin.dropped);
    let (kept_top, all_top) = (y_axis.at(f64::from(bin.kept)), y_axis.at(all));
    let tip = format!(
        "{} to {}: {} kept, {} dropped",
        axis::label((bin.low * 1e4).round() / 1e4),
        axis::label((bin.high * 1e4).round() / 1e4),
        words::thousands(bin.kept.into()),
        words::thousands(bin.dropped.into())
    );
    let kept_top = if bin.kept > 0 { kept_top.min(bottom - 1.0) } else { kept_top };
    if bin.dropped > 0 {
        svg.rect("bar-dropped", (bar.0, all_top), (bar.1, kept_top - all_top), &tip);
    }
    if bin.kept > 0 {
        svg.rect("bar-kept", (bar.0, kept_top), (bar.1, bottom - kept_top), &tip);
    }
    let share = if all > 0.0 { f64::from(bin.kept) / all } else { 0.0 };
    let step = (share * 10.0).ceil() as u32;
    svg.rect(&format!("share-{step}"), (bar.0, bottom + 4.0), (bar.1, 7.0), &tip);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bins: &[(f64, f64, u32, u32)]) -> Histogram {
        Histogram {
            title: "EL2N".into(),
            x_label: "score".into(),
            easy_end: EasyEnd::High,
            bins: bins.iter().map(|&(low, high, kept, dropped)| Bin { low, high, kept, dropped }).collect(),
        }
    }

    #[test]
    fn kept_and_dropped_stand_on_one_another() {
        let page = Page { histograms: vec![histogram(&[(0.0, 1.0, 0, 100), (1.0, 2.0, 50, 50)])], ..Page::default() };
        let figure = figure(&page).expect("there are samples");
        assert_eq!(figure.panels[0].title, "EL2N: 50 of 200 kept");
        let svg = figure.panels[0].narrow.inline();
        assert_eq!((svg.matches("bar-dropped").count(), svg.matches("bar-kept").count()), (2, 1));
        assert!(svg.contains("share-0") && svg.contains("share-5"));
        assert!(svg.contains("easy →") && svg.contains("← hard"), "high scores are easy here");
        assert!(svg.contains("1 to 2: 50 kept, 50 dropped"));
    }

    #[test]
    fn nothing_to_count_is_no_figure() {
        let page = Page {
            histograms: vec![histogram(&[(0.0, 1.0, 0, 0), (1.0, f64::NAN, 9, 9), (3.0, 3.0, 1, 1)])],
            ..Page::default()
        };
        assert!(figure(&page).is_none());
    }
}
