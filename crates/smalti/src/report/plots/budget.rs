//! Top-1 against the budget, counted once in images per class and once in bytes: a method that stores more per image cannot
//! hide it. Drawn where a table holds several budgets.

use super::axis::{self, Axis, Spacing};
use super::spread::spread;
use super::{Figure, Palette, Panel, Room};
use crate::report::data::{Page, TableRow};
use crate::report::svg::{Anchor, BOLD, Svg, fit, series_width};
use crate::report::words;

const HEIGHT: f64 = 300.0;
const FONT: f64 = 12.0;

/// How a budget is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Budget {
    Ipc,
    Bytes,
}

impl Budget {
    fn of(self, row: &TableRow) -> f64 {
        match self {
            Budget::Ipc => f64::from(row.ipc),
            Budget::Bytes => row.total_bytes() as f64,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Budget::Ipc => "stored images per class",
            Budget::Bytes => "stored bytes, images and labels",
        }
    }

    fn ticks(self, axis: &Axis, rows: &[&TableRow]) -> Vec<(f64, String)> {
        match self {
            Budget::Ipc => {
                let mut values: Vec<f64> = rows.iter().map(|row| f64::from(row.ipc)).collect();
                values.sort_by(f64::total_cmp);
                axis.apart(&values, 26.0).into_iter().map(|tick| (tick, axis::label(tick))).collect()
            }
            Budget::Bytes => {
                let ticks = axis.apart(&axis::byte_ticks(axis.domain()), 54.0);
                ticks.into_iter().map(|tick| (tick, axis::byte_label(tick))).collect()
            }
        }
    }
}

/// The figure, if one student and protocol has rows at two budgets.
pub fn figure(page: &Page, palette: &Palette) -> Option<Figure> {
    let mut settings: Vec<Vec<&TableRow>> = Vec::new();
    for row in page.table.iter().filter(|row| row.top1.mean.is_finite() && row.ipc > 0) {
        let same = |group: &&mut Vec<&TableRow>| group[0].student == row.student && group[0].protocol == row.protocol;
        match settings.iter_mut().find(same) {
            Some(group) => group.push(row),
            None => settings.push(vec![row]),
        }
    }
    let many = settings.len() > 1;
    settings.retain(|group| group.iter().any(|row| row.ipc != group[0].ipc));
    let seeds = words::seeds_of(settings.iter().flatten().map(|row| row.n));
    let mut panels = Vec::new();
    for group in &settings {
        for budget in [Budget::Ipc, Budget::Bytes] {
            let setting = if many { format!("{}, {}: ", group[0].student, group[0].protocol) } else { String::new() };
            let title = format!("{setting}by {}", if budget == Budget::Ipc { "images per class" } else { "bytes" });
            panels.push(Panel { title, wide: None, narrow: draw(group, budget, palette) });
        }
    }
    let caption = format!(
        "Top-1 accuracy against the budget, on logarithmic axes: images per class, and bytes of images and labels together. Points \
         are means over seeds ({seeds}), whiskers one standard deviation to either side. Lines only connect the points of a method."
    );
    (!panels.is_empty()).then_some(Figure { name: "budget", panels, caption })
}

fn draw(rows: &[&TableRow], budget: Budget, palette: &Palette) -> Svg {
    let width = Room::Narrow.width();
    let label_room = rows.iter().map(|row| series_width(&row.method, FONT)).fold(30.0, f64::max).min(116.0);
    let (left, right, top, bottom) = (34.0, width - label_room - 16.0, 28.0, HEIGHT - 44.0);
    let ends = rows
        .iter()
        .flat_map(|row| [row.top1.mean - row.top1.sd.unwrap_or(0.0), row.top1.mean + row.top1.sd.unwrap_or(0.0)]);
    let y_axis = Axis::rounded(range(ends.map(|end| end.clamp(0.0, 100.0))), (bottom, top), 5);
    let (low, high) = range(rows.iter().map(|row| budget.of(row)));
    let x_axis = Axis::new(Spacing::Log, (low / 1.15, high * 1.15), (left, right));
    let mut svg = Svg::new(width, HEIGHT, &format!("Top-1 accuracy against {}", budget.name()));
    svg.text("axis-title", (0.0, 12.0), Anchor::Start, "top-1, %");
    for tick in y_axis.ticks(5) {
        svg.line("grid", (left, y_axis.at(tick)), (right, y_axis.at(tick)));
        svg.text("tick", (left - 6.0, y_axis.at(tick) + 4.0), Anchor::End, &axis::label(tick));
    }
    for (tick, label) in budget.ticks(&x_axis, rows) {
        svg.line("tick-mark", (x_axis.at(tick), bottom), (x_axis.at(tick), bottom + 4.0));
        svg.text("tick", (x_axis.at(tick), bottom + 17.0), Anchor::Middle, &label);
    }
    svg.line("axis", (left, bottom), (right, bottom));
    svg.text("axis-title", ((left + right) / 2.0, HEIGHT - 8.0), Anchor::Middle, budget.name());
    let lines = lines(rows, budget);
    let wanted: Vec<f64> = lines.iter().map(|line| y_axis.at(line[line.len() - 1].top1.mean)).collect();
    for (line, label_y) in lines.iter().zip(spread(&wanted, 15.0, top + 4.0, bottom)) {
        draw_line(&mut svg, line, |row| (x_axis.at(budget.of(row)), y_axis.at(row.top1.mean)), &y_axis, palette);
        let (last, colour) = (line[line.len() - 1], palette.class(&line[0].method));
        let end = (x_axis.at(budget.of(last)), y_axis.at(last.top1.mean));
        svg.line(&format!("leader {colour}"), (end.0 + 6.0, end.1), (right + 10.0, label_y));
        svg.text(
            &format!("series {colour}"),
            (right + 14.0, label_y + 4.0),
            Anchor::Start,
            &fit(&last.method, FONT, label_room / BOLD + 1.0),
        );
    }
    svg
}

/// The rows of each method, from small to large.
fn lines<'a>(rows: &[&'a TableRow], budget: Budget) -> Vec<Vec<&'a TableRow>> {
    let mut lines: Vec<Vec<&TableRow>> = Vec::new();
    for row in rows {
        match lines.iter_mut().find(|line| line[0].method == row.method) {
            Some(line) => line.push(row),
            None => lines.push(vec![row]),
        }
    }
    lines.iter_mut().for_each(|line| line.sort_by(|a, b| budget.of(a).total_cmp(&budget.of(b))));
    lines
}

fn draw_line(
    svg: &mut Svg,
    line: &[&TableRow],
    at: impl Fn(&TableRow) -> (f64, f64),
    y_axis: &Axis,
    palette: &Palette,
) {
    let colour = palette.class(&line[0].method);
    let points: Vec<(f64, f64)> = line.iter().map(|row| at(row)).collect();
    svg.polyline(&format!("curve {colour}"), &points);
    for (row, &(x, y)) in line.iter().zip(&points) {
        if let Some(sd) = row.top1.sd {
            let (low, high) = (y_axis.at(row.top1.mean - sd), y_axis.at(row.top1.mean + sd));
            svg.line(&format!("whisker {colour}"), (x, low), (x, high));
            for end in [low, high] {
                svg.line(&format!("whisker {colour}"), (x - 3.0, end), (x + 3.0, end));
            }
        }
        let ipc = words::thousands(row.ipc.into());
        let tip =
            format!("{}, IPC {ipc}, {}: {}", row.method, words::bytes(row.total_bytes()), words::mean_sd(&row.top1));
        svg.dot(&format!("point {colour}"), (x, y), 3.8, &tip);
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .filter(|value| value.is_finite())
        .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn one_budget_needs_no_figure() {
        let page = example::page();
        assert!(figure(&page, &Palette::of(&page)).is_none());
    }

    #[test]
    fn each_method_is_a_line_by_images_and_by_bytes() {
        let page = example::budgets();
        let figure = figure(&page, &Palette::of(&page)).expect("several budgets");
        assert_eq!(figure.panels.len(), 2);
        let by_ipc = figure.panels[0].narrow.inline();
        assert_eq!(by_ipc.matches("<polyline").count(), 5);
        assert_eq!(by_ipc.matches("class=\"point ").count(), page.table.len());
        for tick in [">1<", ">10<", ">50<"] {
            assert!(by_ipc.contains(tick), "{tick} is where the data are");
        }
        assert!(figure.panels[1].narrow.inline().contains("KiB<"));
    }
}
