//! The table of results as Markdown that is aligned enough to read in a terminal, and as CSV.

use super::columns::{Kind, SETTINGS};
use super::data::{Clear, MeanSd, TableRow};
use super::ranking::Ranking;
use super::words;

/// A column: its head, and a cell per row.
struct Column {
    head: String,
    kind: Kind,
    cells: Vec<String>,
}

/// The table as Markdown; `baseline` is the method that gains are over.
///
/// IPC and student always show, other settings where rows differ. An interval that covers zero is marked `(unclear)`.
pub fn terminal(rows: &[TableRow], baseline: &str) -> String {
    let columns = columns(rows, baseline);
    let widths: Vec<usize> = columns.iter().map(Column::width).collect();
    let mut text = String::new();
    let mut line = |cells: Vec<String>| text.push_str(&format!("| {} |\n", cells.join(" | ")));
    line(columns.iter().zip(&widths).map(|(column, &width)| pad(&column.head, width, column.kind)).collect());
    let rule = |column: &Column, width: usize| match column.kind {
        Kind::Text => "-".repeat(width),
        Kind::Number => format!("{}:", "-".repeat(width - 1)),
    };
    line(columns.iter().zip(&widths).map(|(column, &width)| rule(column, width)).collect());
    for row in 0..rows.len() {
        line(columns.iter().zip(&widths).map(|(column, &width)| pad(&column.cells[row], width, column.kind)).collect());
    }
    text
}

fn columns(rows: &[TableRow], baseline: &str) -> Vec<Column> {
    let each = |cell: &dyn Fn(&TableRow) -> String| rows.iter().map(cell).collect::<Vec<_>>();
    let number = |head: &str, cells| Column { head: head.to_owned(), kind: Kind::Number, cells };
    let mut columns = vec![Column { head: "method".into(), kind: Kind::Text, cells: each(&|row| plain(&row.method)) }];
    let mut top1 = "top-1".to_owned();
    for setting in SETTINGS {
        if setting.varies(rows) || matches!(setting.name, "IPC" | "student") {
            let cells = each(&|row| plain(&(setting.value)(row)));
            columns.push(Column { head: setting.name.to_owned(), kind: setting.kind, cells });
        } else if let ("n", Some(row)) = (setting.name, rows.first()) {
            top1 = format!("top-1 (n={})", row.n);
        }
    }
    columns.push(number(&top1, spreads(rows.iter().map(|row| mean_parts(&row.top1)))));
    columns.push(number("top-5", spreads(rows.iter().map(|row| mean_parts(&row.top5)))));
    if rows.iter().any(|row| row.best_top1.is_some()) {
        let none = (words::NONE.to_owned(), None);
        let best = rows.iter().map(|row| row.best_top1.as_ref().map_or(none.clone(), mean_parts));
        columns.push(number("best on test", spreads(best)));
    }
    let gains = rows.iter().zip(spreads(rows.iter().map(gain_parts)));
    let gains = gains.map(|(row, text)| text + gain_mark(row)).collect();
    let gains = Column { head: format!("over {}", plain(baseline)), kind: Kind::Number, cells: flush(gains) };
    columns.push(gains);
    if rows.iter().any(|row| row.gain_over_images.is_some()) {
        columns.push(number(
            "over images too",
            each(&|row| row.gain_over_images.map_or(words::NONE.into(), words::interval)),
        ));
    }
    if rows.iter().any(|row| row.ranking.is_some()) {
        for (head, score) in RANKINGS {
            let cells =
                each(&|row| row.ranking.as_ref().map_or(words::NONE.into(), |found| words::percent(score(found))));
            columns.push(number(head, cells));
        }
    }
    columns.push(number("size", each(&|row| words::bytes(row.total_bytes()))));
    columns.push(number("training", each(&|row| words::seconds(row.train_seconds))));
    columns
}

/// A score of DD-Ranking: its name, and where it stands.
type Score = (&'static str, fn(&Ranking) -> f64);

/// DD-Ranking's scores as columns.
pub const RANKINGS: [Score; 3] = [("HLR", |r| r.hlr), ("IOR", |r| r.ior), ("LRS", |r| r.lrs)];

fn mean_parts(value: &MeanSd) -> (String, Option<String>) {
    (words::percent(value.mean), value.sd.map(words::percent))
}

fn gain_parts(row: &TableRow) -> (String, Option<String>) {
    match &row.gain {
        Some(gain) => (words::signed(gain.mean), gain.half_width.map(words::percent)),
        None => (words::NONE.to_owned(), None),
    }
}

fn gain_mark(row: &TableRow) -> &'static str {
    match row.gain.as_ref().map(|gain| gain.clear) {
        Some(Clear::NoClearDifference) => " (unclear)",
        Some(Clear::Unknown) => " (one seed)",
        _ => "",
    }
}

/// Means and spreads of a column, so that every `±` stands under the one above.
fn spreads(parts: impl Iterator<Item = (String, Option<String>)>) -> Vec<String> {
    let parts: Vec<_> = parts.collect();
    let spread_width = parts.iter().filter_map(|(_, spread)| spread.as_ref()).map(|text| text.chars().count()).max();
    let cell = |(mean, spread): &(String, Option<String>)| match (spread, spread_width) {
        (Some(spread), Some(width)) => format!("{mean} ± {spread:>width$}"),
        (None, Some(width)) => format!("{mean}{}", " ".repeat(width + 3)),
        _ => mean.clone(),
    };
    parts.iter().map(cell).collect()
}

/// Pads on the right, so that marks after a number do not push the number out of its column.
fn flush(cells: Vec<String>) -> Vec<String> {
    let tail = |cell: &String| cell.find(" (").map_or(0, |at| cell[at..].chars().count());
    let longest = cells.iter().map(tail).max().unwrap_or(0);
    cells.iter().map(|cell| format!("{cell}{}", " ".repeat(longest - tail(cell)))).collect()
}

impl Column {
    /// Width in characters, at least what Markdown's rule needs.
    fn width(&self) -> usize {
        self.cells.iter().chain([&self.head]).map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    }
}

fn pad(cell: &str, width: usize, kind: Kind) -> String {
    match kind {
        Kind::Text => format!("{cell:<width$}"),
        Kind::Number => format!("{cell:>width$}"),
    }
}

/// Text that cannot end a cell or a line.
fn plain(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.replace('|', "\\|")
}

/// A column of the CSV: its name, and its value in a row.
type Field = (&'static str, fn(&TableRow) -> String);

const FIELDS: &[Field] = &[
    ("method", |row| row.method.clone()),
    ("ipc", |row| row.ipc.to_string()),
    ("student", |row| row.student.clone()),
    ("protocol", |row| row.protocol.clone()),
    ("augment", |row| row.augment.clone()),
    ("crop", |row| row.crop.clone()),
    ("n", |row| row.n.to_string()),
    ("top1_percent", |row| number(row.top1.mean)),
    ("top1_sd", |row| optional(row.top1.sd)),
    ("top1_by_seed", |row| by_seed(&row.top1)),
    ("top5_percent", |row| number(row.top5.mean)),
    ("top5_sd", |row| optional(row.top5.sd)),
    ("top5_by_seed", |row| by_seed(&row.top5)),
    ("gain_points", |row| optional(row.gain.as_ref().map(|gain| gain.mean))),
    ("gain_half_width_95", |row| optional(row.gain.as_ref().and_then(|gain| gain.half_width))),
    ("gain_reading", |row| row.gain.as_ref().map(|gain| words::clear(gain.clear).to_owned()).unwrap_or_default()),
    ("gain_low_95_over_images", |row| optional(row.gain_over_images.map(|interval| interval.low))),
    ("gain_high_95_over_images", |row| optional(row.gain_over_images.map(|interval| interval.high))),
    ("best_top1_percent", |row| optional(row.best_top1.as_ref().map(|best| best.mean))),
    ("hlr", |row| optional(row.ranking.map(|found| found.hlr))),
    ("ior", |row| optional(row.ranking.map(|found| found.ior))),
    ("lrs", |row| optional(row.ranking.map(|found| found.lrs))),
    ("image_bytes", |row| row.image_bytes.to_string()),
    ("label_bytes", |row| row.label_bytes.to_string()),
    ("train_seconds", |row| number(row.train_seconds)),
    ("score_seconds", |row| number(row.score_seconds)),
];

/// The table as CSV (RFC 4180, lines end in LF). A spread or gain that does not exist is an empty field, never 0.
pub fn csv(rows: &[TableRow]) -> String {
    let mut text = FIELDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",") + "\n";
    for row in rows {
        let fields: Vec<String> = FIELDS.iter().map(|(_, value)| quoted(&value(row))).collect();
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// Up to three decimals, none needlessly; empty for what is not finite.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn optional(value: Option<f64>) -> String {
    value.map(number).unwrap_or_default()
}

fn by_seed(value: &MeanSd) -> String {
    value.values.iter().map(|&value| number(value)).collect::<Vec<_>>().join(" ")
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn the_table_in_a_terminal() {
        let page = example::page();
        insta::assert_snapshot!(terminal(&page.table, &page.baseline), @r"
        | method        | IPC | student   | augment     | crop     | top-1 (n=3) |      top-5 |           over random |    size |   training |
        | ------------- | --: | --------- | ----------- | -------- | ----------: | ---------: | --------------------: | ------: | ---------: |
        | random        |  10 | convnet-4 | standard    | 0.2 to 1 |  36.1 ± 1.0 | 68.0 ± 0.5 |     –                 | 400 KiB | 1 min 40 s |
        | el2n-easy     |  10 | convnet-4 | standard    | 0.2 to 1 |  39.2 ± 1.1 | 69.6 ± 0.6 |  +3.1 ± 0.7           | 400 KiB | 1 min 40 s |
        | el2n-hard     |  10 | convnet-4 | standard    | 0.2 to 1 |  20.4 ± 1.4 | 60.2 ± 0.7 | −15.7 ± 4.8           | 400 KiB | 1 min 40 s |
        | random-mosaic |  10 | convnet-4 | constrained | 0.5 to 1 |  46.2 ± 1.1 | 73.1 ± 0.5 | +10.1 ± 0.6           | 400 KiB | 1 min 40 s |
        | pca           |  10 | convnet-4 | constrained | 0.5 to 1 |  38.3 ± 2.9 | 69.1 ± 1.4 |  +2.2 ± 4.8 (unclear) | 400 KiB | 1 min 40 s |
        ");
    }

    #[test]
    fn every_column_that_a_table_can_have() {
        insta::assert_snapshot!(terminal(&example::everything().table, "random"));
    }

    #[test]
    fn one_seed_and_several_budgets() {
        let mut rows = example::page().table;
        rows.truncate(3);
        rows[1].ipc = 1_000;
        rows[2] = example::one_seed(rows[2].clone());
        insta::assert_snapshot!(terminal(&rows, "random|x"), @r"
        | method    |   IPC | student   |   n |      top-1 |      top-5 |         over random\|x |    size |   training |
        | --------- | ----: | --------- | --: | ---------: | ---------: | ---------------------: | ------: | ---------: |
        | random    |    10 | convnet-4 |   3 | 36.1 ± 1.0 | 68.0 ± 0.5 |     –                  | 400 KiB | 1 min 40 s |
        | el2n-easy | 1,000 | convnet-4 |   3 | 39.2 ± 1.1 | 69.6 ± 0.6 |  +3.1 ± 0.7            | 400 KiB | 1 min 40 s |
        | el2n-hard |    10 | convnet-4 |   1 | 20.3       | 60.1       | −15.7       (one seed) | 400 KiB | 1 min 40 s |
        ");
        assert_eq!(terminal(&[], "random").lines().count(), 2);
    }

    #[test]
    fn rows_of_other_length_say_so() {
        let mut rows = example::page().table;
        rows.truncate(2);
        assert!(!terminal(&rows, "random").contains("images seen"));
        rows[1].images_seen = 189_380;
        insta::assert_snapshot!(terminal(&rows, "random"), @r"
        | method    | IPC | student   | images seen | top-1 (n=3) |      top-5 | over random |    size |   training |
        | --------- | --: | --------- | ----------: | ----------: | ---------: | ----------: | ------: | ---------: |
        | random    |  10 | convnet-4 |      30,000 |  36.1 ± 1.0 | 68.0 ± 0.5 |     –       | 400 KiB | 1 min 40 s |
        | el2n-easy |  10 | convnet-4 |     189,380 |  39.2 ± 1.1 | 69.6 ± 0.6 |  +3.1 ± 0.7 | 400 KiB | 1 min 40 s |
        ");
    }

    #[test]
    fn the_table_as_csv() {
        let mut rows = example::page().table;
        rows.truncate(3);
        rows[1].method = "a \"quoted\", name".into();
        rows[2] = example::one_seed(rows[2].clone());
        insta::assert_snapshot!(csv(&rows), @r#"
        method,ipc,student,protocol,augment,crop,n,top1_percent,top1_sd,top1_by_seed,top5_percent,top5_sd,top5_by_seed,gain_points,gain_half_width_95,gain_reading,gain_low_95_over_images,gain_high_95_over_images,best_top1_percent,hlr,ior,lrs,image_bytes,label_bytes,train_seconds,score_seconds
        random,10,convnet-4,small,standard,0.2 to 1,3,36.1,0.954,35.1 37 36.2,68.05,0.477,67.55 68.5 68.1,,,,,,,,,,410000,100,100,0
        "a ""quoted"", name",10,convnet-4,small,standard,0.2 to 1,3,39.2,1.114,38.2 40.4 39,69.6,0.557,69.1 70.2 69.5,3.1,0.745,better,,,,,,,410000,100,100,725
        el2n-hard,10,convnet-4,small,standard,0.2 to 1,1,20.3,,20.3,60.15,,60.15,-15.667,,one seed,,,,,,,410000,100,100,725
        "#);
    }

    #[test]
    fn every_line_of_the_csv_has_every_field() {
        let text = csv(&example::page().table);
        let counts: Vec<usize> = text.lines().map(|line| line.matches(',').count()).collect();
        assert!(counts.iter().all(|&count| count == FIELDS.len() - 1), "{counts:?}");
    }
}
