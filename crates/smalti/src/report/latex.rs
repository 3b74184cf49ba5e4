//! The table for a paper: LaTeX with the package booktabs.

use super::columns::{SETTINGS, shared};
use super::data::{Clear, MeanSd, TableRow};
use super::words::{bytes, percent, signed};

/// A `table` environment; `baseline` is the method that gains are over. Best means per budget are bold; a gain whose interval covers zero
/// is grey.
pub fn latex(rows: &[TableRow], baseline: &str, caption: &str) -> String {
    let varying: Vec<_> = SETTINGS.iter().filter(|setting| setting.varies(rows)).collect();
    let mut text = String::from("% \\usepackage{booktabs,xcolor}\n\\begin{table}\n  \\centering\n");
    let kinds = "l".repeat(1 + varying.len());
    text.push_str(&format!("  \\begin{{tabular}}{{{kinds}rrrr}}\n    \\toprule\n"));
    let heads = varying.iter().map(|setting| escaped(setting.name));
    let heads: Vec<String> = ["method".to_owned()].into_iter().chain(heads).collect();
    text.push_str(&format!(
        "    {} & top-1 (\\%) & top-5 (\\%) & over {} & size \\\\\n    \\midrule\n",
        heads.join(" & "),
        escaped(baseline)
    ));
    for (at, row) in rows.iter().enumerate() {
        if at > 0 && !rows[at - 1].same_setting(row) {
            text.push_str("    \\midrule\n");
        }
        let settings = varying.iter().map(|setting| escaped(&(setting.value)(row)));
        let cells: Vec<String> = [escaped(&row.method)].into_iter().chain(settings).collect();
        let best = rows.iter().filter(|other| other.same_setting(row)).all(|other| other.top1.mean <= row.top1.mean);
        let top1 = spread(&row.top1);
        let top1 = if best { format!("\\textbf{{{top1}}}") } else { top1 };
        let line = [top1, spread(&row.top5), gain(row), escaped(&bytes(row.total_bytes()))].join(" & ");
        text.push_str(&format!("    {} & {line} \\\\\n", cells.join(" & ")));
    }
    text.push_str("    \\bottomrule\n  \\end{tabular}\n");
    let all: Vec<String> = shared(rows).iter().map(|phrase| escaped(phrase)).collect();
    text.push_str(&format!(
        "  \\caption{{{} Mean and standard deviation over seeds; gains are paired by seed, with 95\\,\\% t-intervals, grey where they cover \
         zero. All rows: {}.}}\n\\end{{table}}\n",
        escaped(caption),
        all.join(", ")
    ));
    text
}

fn spread(value: &MeanSd) -> String {
    let mean = math(&percent(value.mean));
    value.sd.map_or(mean.clone(), |sd| format!("{mean} $\\pm$ {}", percent(sd)))
}

fn gain(row: &TableRow) -> String {
    let Some(gain) = &row.gain else { return "--".to_owned() };
    let mean = math(&signed(gain.mean));
    let text = gain.half_width.map_or(mean.clone(), |half| format!("{mean} $\\pm$ {}", percent(half)));
    if gain.clear == Clear::NoClearDifference { format!("\\textcolor{{gray}}{{{text}}}") } else { text }
}

/// A number with a minus sign that LaTeX sets as one.
fn math(number: &str) -> String {
    number.replace('−', "$-$").replace('–', "--")
}

/// Text without a character that LaTeX would act on.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            '\u{a0}' => out.push('~'),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '²' => out.push_str("$^2$"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn the_table_for_a_paper() {
        let mut rows = example::page().table;
        rows.truncate(5);
        rows[1].method = "el2n_easy & co".into();
        insta::assert_snapshot!(latex(&rows, "random", "Imagenette at 96 px, 100 % real."));
    }

    #[test]
    fn nothing_that_latex_acts_on_survives() {
        assert_eq!(
            escaped("a_b{c}\\d~e^f#g$h%i&j"),
            "a\\_b\\{c\\}\\textbackslash{}d\\textasciitilde{}e\\textasciicircum{}f\\#g\\$h\\%i\\&j"
        );
    }
}
