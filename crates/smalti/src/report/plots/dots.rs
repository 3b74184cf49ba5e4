//! Top-1 by method: every seed as a dot, their mean as a bar, whiskers of one standard deviation, and the baseline's mean as a
//! dashed line. Nothing is averaged away: a reader counts the seeds.

use super::axis::{self, Axis};
use super::{Figure, Palette, Panel, Room};
use crate::report::data::{Page, TableRow};
use crate::report::svg::{Anchor, Svg, fit, text_width};
use crate::report::words;

const FONT: f64 = 13.0;

/// The figure, if the table has a row.
pub fn figure(page: &Page, palette: &Palette) -> Option<Figure> {
    let rows = finite_rows(&page.table);
    if rows.is_empty() {
        return None;
    }
    let seeds = words::seeds_of(rows.iter().map(|row| row.n));
    let base = rows.iter().any(|row| row.method == page.baseline);
    let dashed = if base { format!(" Dashed line: the mean of {}.", page.baseline) } else { String::new() };
    let zero = frame(&rows, Room::Wide).axis.domain().0 == 0.0;
    let cut = if zero { "" } else { " The axis does not start at zero." };
    let whiskers = match rows.iter().any(|row| row.top1.sd.is_some()) {
        true => ", the upright bar their mean, the whiskers one standard deviation over seeds to either side",
        false => "; one seed shows no spread, so there are no whiskers",
    };
    let caption = format!("Top-1 accuracy on the test images. Each dot is one seed ({seeds}){whiskers}.{dashed}{cut}");
    let draw = |room| draw(&rows, &page.baseline, palette, room);
    let panel = Panel { title: String::new(), wide: Some(draw(Room::Wide)), narrow: draw(Room::Narrow) };
    Some(Figure { name: "top1", panels: vec![panel], caption })
}

/// Rows that have a mean.
fn finite_rows(rows: &[TableRow]) -> Vec<&TableRow> {
    rows.iter().filter(|row| row.top1.mean.is_finite()).collect()
}

/// Rows that may be compared, in the order of the table, under a heading that says what sets them apart.
fn groups<'a>(rows: &[&'a TableRow]) -> Vec<(String, Vec<&'a TableRow>)> {
    let mut groups: Vec<(String, Vec<&TableRow>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(_, group)| group[0].same_setting(row)) {
            Some((_, group)) => group.push(row),
            None => groups.push((heading(rows, row), vec![row])),
        }
    }
    groups
}

fn heading(rows: &[&TableRow], row: &TableRow) -> String {
    let mut parts = Vec::new();
    if rows.iter().any(|other| other.ipc != row.ipc) {
        parts.push(match row.ipc {
            // The row of all training images.
            0 => "all images".to_owned(),
            ipc => format!("IPC {}", words::thousands(ipc.into())),
        });
    }
    if rows.iter().any(|other| other.student != row.student) {
        parts.push(row.student.clone());
    }
    if rows.iter().any(|other| other.protocol != row.protocol) {
        parts.push(row.protocol.clone());
    }
    parts.join(", ")
}

/// Where things stand: names left of the dots where there is room, else above them.
struct Frame {
    room: Room,
    left: f64,
    right: f64,
    axis: Axis,
}

fn frame(rows: &[&TableRow], room: Room) -> Frame {
    let name = rows.iter().map(|row| text_width(&row.method, FONT)).fold(60.0, f64::max);
    let left = room.either(name.min(220.0) + 18.0, 4.0);
    let right = room.either(room.width() - 108.0, room.width() - 6.0);
    Frame { room, left, right, axis: Axis::rounded(extent(rows), (left, right), room.either(7, 4)) }
}

/// From the lowest to the highest value or whisker, within 0 and 100.
fn extent(rows: &[&TableRow]) -> (f64, f64) {
    let ends = rows.iter().flat_map(|row| {
        let sd = row.top1.sd.unwrap_or(0.0);
        row.top1.values.iter().copied().chain([row.top1.mean - sd, row.top1.mean + sd])
    });
    let (low, high) =
        ends.filter(|value| value.is_finite()).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    (low.clamp(0.0, 100.0), high.clamp(0.0, 100.0))
}

fn draw(rows: &[&TableRow], baseline: &str, palette: &Palette, room: Room) -> Svg {
    let frame = frame(rows, room);
    let groups = groups(rows);
    let row_height = room.either(36.0, 52.0);
    let headings = groups.iter().filter(|(heading, _)| !heading.is_empty()).count() as f64;
    let bottom = 8.0 + rows.len() as f64 * row_height + headings * 30.0;
    let mut svg = Svg::new(room.width(), bottom + 40.0, "Top-1 accuracy by method, one dot per seed");
    for tick in frame.axis.ticks(room.either(7, 4)) {
        let x = frame.axis.at(tick);
        svg.line("grid", (x, 4.0), (x, bottom));
        svg.text("tick", (x, bottom + 16.0), Anchor::Middle, &axis::label(tick));
    }
    svg.text(
        "axis-title",
        ((frame.left + frame.right) / 2.0, bottom + 34.0),
        Anchor::Middle,
        "top-1, % of test images",
    );
    let mut y = 8.0;
    for (heading, group) in &groups {
        if !heading.is_empty() {
            svg.text("heading", (4.0, y + 20.0), Anchor::Start, heading);
            y += 30.0;
        }
        if let Some(base) = group.iter().find(|row| row.method == baseline) {
            let x = frame.axis.at(base.top1.mean);
            svg.line("base", (x, y), (x, y + group.len() as f64 * row_height));
        }
        for row in group {
            draw_row(&mut svg, &frame, row, y, &palette.class(&row.method));
            y += row_height;
        }
    }
    svg
}

fn draw_row(svg: &mut Svg, frame: &Frame, row: &TableRow, top: f64, colour: &str) {
    let width = frame.room.width();
    let value = words::mean_sd(&row.top1);
    let (middle, text) = (top + frame.room.either(18.0, 35.0), top + frame.room.either(22.5, 16.0));
    // Seeds stand below their mean and whiskers: on one line they would hide one another.
    let (above, below) = (middle - 4.0, middle + 7.0);
    let room = frame.room.either(frame.left - 14.0, width - 120.0);
    svg.text("name", (4.0, text), Anchor::Start, &fit(&row.method, FONT, room));
    svg.text("value", (width - 4.0, text), Anchor::End, &value);
    let at = |value: f64| frame.axis.at(value);
    let class = |part: &str| format!("{part} {colour}");
    svg.line("rail", (frame.left, below), (frame.right, below));
    if let Some(sd) = row.top1.sd {
        let (low, high) = (at(row.top1.mean - sd), at(row.top1.mean + sd));
        svg.line(&class("whisker"), (low, above), (high, above));
        for end in [low, high] {
            svg.line(&class("whisker"), (end, above - 4.0), (end, above + 4.0));
        }
    }
    for (seed, &value) in row.top1.values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
        let tip = format!("{}, seed {} of {}: {}", row.method, seed + 1, row.top1.values.len(), words::percent(value));
        svg.dot(&class("seed"), (at(value), below), 3.2, &tip);
    }
    let tip = format!("{}: {value}", row.method);
    svg.rect(&class("mean"), (at(row.top1.mean) - 1.5, above - 7.0), (3.0, 14.0), &tip);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn every_seed_is_a_dot_and_every_method_a_mean() {
        let page = example::page();
        let figure = figure(&page, &Palette::of(&page)).expect("the table has rows");
        let svg = figure.panels[0].narrow.inline();
        assert_eq!(svg.matches("class=\"seed ").count(), 15);
        assert_eq!(svg.matches("class=\"mean ").count(), 5);
        assert_eq!(svg.matches("class=\"base\"").count(), 1);
        assert!(figure.caption.contains("n\u{a0}=\u{a0}3") && figure.caption.contains("standard deviation"));
        assert!(figure.caption.contains("does not start at zero"));
    }

    #[test]
    fn one_seed_has_no_whisker_and_budgets_are_apart() {
        let mut page = example::page();
        page.table.truncate(2);
        page.table[1] = TableRow { ipc: 50, ..example::one_seed(page.table[1].clone()) };
        let svg = draw(&finite_rows(&page.table), "random", &Palette::of(&page), Room::Wide).inline();
        assert_eq!(svg.matches("class=\"whisker s0\"").count(), 3, "a line and two ends");
        assert_eq!(svg.matches("class=\"whisker s1\"").count(), 0);
        assert!(svg.contains(">IPC 10<") && svg.contains(">IPC 50<"));
    }

    #[test]
    fn values_stay_on_the_axis() {
        let page = example::page();
        let (low, high) = frame(&finite_rows(&page.table), Room::Wide).axis.domain();
        let values = page.table.iter().flat_map(|row| &row.top1.values);
        assert!(values.clone().all(|value| low <= *value && *value <= high));
        assert!(values.count() > 0 && (0.0..100.0).contains(&low) && high <= 100.0);
    }
}
