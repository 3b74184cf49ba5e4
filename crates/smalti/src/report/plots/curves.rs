//! Training loss by images seen, on a log axis. Each line carries its name at its end, so that no legend has to be searched.

use super::axis::{self, Axis, Spacing};
use super::spread::spread;
use super::{Figure, Palette, Panel, Room};
use crate::report::data::{Curve, Page};
use crate::report::svg::{Anchor, BOLD, Point, Svg, fit, series_width};
use crate::report::words;

const FONT: f64 = 12.0;
/// More points than this cannot be seen; longer curves are averaged in this many pieces.
const POINTS: usize = 300;

/// More lines than this cannot be told apart.
const LINES: usize = 8;

/// The figure, if a curve has two points to connect.
pub fn figure(page: &Page, palette: &Palette) -> Option<Figure> {
    let curves: Vec<(&str, Vec<Point>)> =
        page.curves.iter().map(|curve| (curve.method.as_str(), points(curve))).collect();
    let mut curves: Vec<_> = curves.into_iter().filter(|(_, points)| points.len() > 1).collect();
    let all = curves.len();
    if all > LINES {
        let shown = leading(page);
        curves.retain(|(method, _)| shown.contains(method));
    }
    if curves.is_empty() {
        return None;
    }
    let drawn = |row: &&crate::report::data::TableRow| curves.iter().any(|(method, _)| *method == row.method);
    let seeds = words::seeds_of(page.table.iter().filter(drawn).map(|row| row.n));
    let chosen = match all > curves.len() {
        true => format!(" The {} most accurate of {all} methods and {} are shown.", curves.len() - 1, page.baseline),
        false => String::new(),
    };
    let averaged = if page.curves.iter().any(|curve| curve.points.len() > POINTS) {
        format!(" Long curves are averaged in {POINTS} pieces.")
    } else {
        String::new()
    };
    let caption = format!(
        "Training loss by images seen, on a logarithmic axis; each line is a mean over seeds ({seeds}), without an interval.{chosen}{averaged} \
         Every method is fitted to its own images: a lower line means easier images or a closer fit, not a better result."
    );
    let panel = Panel {
        title: String::new(),
        wide: Some(draw(&curves, palette, Room::Wide)),
        narrow: draw(&curves, palette, Room::Narrow),
    };
    Some(Figure { name: "loss", panels: vec![panel], caption })
}

/// The baseline and the methods with the highest accuracy.
fn leading(page: &Page) -> Vec<&str> {
    let mut rows: Vec<_> = page.table.iter().filter(|row| row.method != page.baseline).collect();
    rows.sort_by(|a, b| b.top1.mean.total_cmp(&a.top1.mean));
    let mut shown = vec![page.baseline.as_str()];
    for row in rows {
        if shown.len() < LINES && !shown.contains(&row.method.as_str()) {
            shown.push(&row.method);
        }
    }
    shown
}

/// What can be drawn of a curve: positive and finite, in order, not more than [`POINTS`].
fn points(curve: &Curve) -> Vec<Point> {
    let good = |&(x, y): &Point| x.is_finite() && y.is_finite() && y > 0.0;
    let mut points: Vec<Point> = curve.points.iter().copied().filter(good).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let size = points.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[Point], part: fn(&Point) -> f64| chunk.iter().map(part).sum::<f64>() / chunk.len() as f64;
    points.chunks(size).map(|chunk| (mean(chunk, |point| point.0), mean(chunk, |point| point.1))).collect()
}

fn draw(curves: &[(&str, Vec<Point>)], palette: &Palette, room: Room) -> Svg {
    let (width, height) = (room.width(), room.either(350.0, 310.0));
    let names = curves.iter().map(|(method, _)| series_width(method, FONT)).fold(30.0, f64::max);
    let label_room = names.min(room.either(190.0, 112.0));
    let (left, right, top, bottom) = (42.0, width - label_room - 20.0, 28.0, height - 44.0);
    let all = || curves.iter().flat_map(|(_, points)| points.iter());
    let range = |part: fn(&Point) -> f64| all().map(part).fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let (low, high) = range(|point| point.1);
    let y_axis = Axis::new(Spacing::Log, (low / 1.08, high * 1.08), (bottom, top));
    let (first, last) = range(|point| point.0);
    let x_axis = Axis::new(Spacing::Linear, (first.min(0.0), last), (left, right));
    let mut svg = Svg::new(width, height, "Training loss by images seen, one line per method");
    svg.text("axis-title", (0.0, 12.0), Anchor::Start, "training loss");
    for tick in y_axis.ticks(6) {
        svg.line("grid", (left, y_axis.at(tick)), (right, y_axis.at(tick)));
        svg.text("tick", (left - 7.0, y_axis.at(tick) + 4.0), Anchor::End, &axis::label(tick));
    }
    for tick in x_axis.apart(&x_axis.ticks(room.either(6, 3)), 44.0) {
        svg.line("tick-mark", (x_axis.at(tick), bottom), (x_axis.at(tick), bottom + 4.0));
        svg.text("tick", (x_axis.at(tick), bottom + 17.0), Anchor::Middle, &axis::label(tick));
    }
    svg.line("axis", (left, bottom), (right, bottom));
    svg.text("axis-title", ((left + right) / 2.0, height - 8.0), Anchor::Middle, "images seen");
    let placed = |point: &Point| (x_axis.at(point.0), y_axis.at(point.1));
    let ends: Vec<Point> = curves.iter().map(|(_, points)| placed(&points[points.len() - 1])).collect();
    let wanted: Vec<f64> = ends.iter().map(|end| end.1).collect();
    for (((method, points), end), label_y) in curves.iter().zip(&ends).zip(spread(&wanted, 16.0, top + 4.0, bottom)) {
        let colour = palette.class(method);
        svg.polyline(&format!("curve {colour}"), &points.iter().map(placed).collect::<Vec<_>>());
        svg.line(&format!("leader {colour}"), (end.0 + 2.0, end.1), (right + 14.0, label_y));
        svg.text(
            &format!("series {colour}"),
            (right + 18.0, label_y + 4.0),
            Anchor::Start,
            &fit(method, FONT, label_room / BOLD + 1.0),
        );
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn a_line_and_a_name_for_each_method() {
        let page = example::page();
        let figure = figure(&page, &Palette::of(&page)).expect("there are curves");
        for svg in figure.panels.iter().flat_map(|panel| [panel.wide.as_ref(), Some(&panel.narrow)]).flatten() {
            let text = svg.inline();
            assert_eq!(text.matches("<polyline").count(), 5);
            assert!(page.curves.iter().all(|curve| text.contains(&format!(">{}</text>", curve.method))));
            assert!(text.contains(">10,000</text>"), "thousands are set apart");
        }
    }

    #[test]
    fn what_a_log_axis_cannot_show_is_left_out() {
        let curve = |points: Vec<Point>| Curve { method: "m".into(), points };
        assert_eq!(points(&curve(vec![(2.0, 1.0), (1.0, 0.0), (0.0, f64::NAN), (1.5, 3.0)])), [(1.5, 3.0), (2.0, 1.0)]);
        assert_eq!(points(&curve((0..1000).map(|i| (f64::from(i), 2.0)).collect())).len(), 250);
        let page = Page { curves: vec![curve(vec![(1.0, 1.0)])], ..Page::default() };
        assert!(figure(&page, &Palette::of(&page)).is_none(), "a point is no line");
    }
}
