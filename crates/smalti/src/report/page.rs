//! `report.html`: one file that works without network, script or installed font.
//!
//! This module turns data into what the template shows: texts, drawings and embedded pictures. The template holds all markup
//! and style and decides nothing but order. Text from outside is escaped by the template engine; only drawings (escaped by
//! [`super::svg`]) and `data:` addresses (checked by [`super::embed`]) go in as they are.

use super::columns::{self, Kind, SETTINGS};
use super::data::{Clear, Page, TableRow};
use super::plots::{self, Figure, Palette};
use super::table::RANKINGS;
use super::{pictures, svg, words};
use anyhow::Context;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use std::collections::BTreeMap;

/// The page as HTML.
///
/// # Errors
/// A picture that cannot be embedded: an unknown format or no bytes.
pub fn render(page: &Page) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template("report.html", include_str!("page.html.jinja"))?;
    let view = view(page)?;
    environment.get_template("report.html")?.render(view).context("cannot write the report page")
}

fn view(page: &Page) -> anyhow::Result<Value> {
    let palette = Palette::of(page);
    let figures: BTreeMap<&str, Value> =
        plots::all(page).iter().map(|figure| (figure.name, figure_view(figure))).collect();
    let sections = sections(page, &figures);
    Ok(context! {
        plot_style => Value::from_safe_string(svg::STYLE.to_owned()),
        title => &page.title,
        subtitle => &page.subtitle,
        baseline => &page.baseline,
        sections,
        findings => prose(&page.findings),
        warnings => prose(&page.warnings),
        table => table(page, &palette),
        galleries => pictures::galleries(&page.galleries, &palette)?,
        choices_note => &page.choices_note,
        choices => pictures::choices(&page.choices)?,
        classes => classes(page, &palette),
        protocol => pairs(&page.protocol),
        provenance => pairs(&page.provenance),
        commands => &page.commands,
        figures => ["top1", "budget", "scores", "loss"].iter().map(|name| (*name, figures.get(name).cloned())).collect::<BTreeMap<_, _>>(),
    })
}

/// Links to the sections that exist: address and name.
fn sections(page: &Page, figures: &BTreeMap<&str, Value>) -> Vec<Value> {
    let all = [
        ("results", "Results", !page.table.is_empty()),
        ("budget", "Budget", figures.contains_key("budget")),
        ("images", "Images", !page.galleries.is_empty()),
        ("choices", "Choices", !page.choices.is_empty()),
        ("scores", "Scores", figures.contains_key("scores")),
        ("training", "Training", figures.contains_key("loss")),
        ("classes", "Classes", !page.classes.is_empty()),
        (
            "repeat",
            "How to repeat it",
            !(page.protocol.is_empty() && page.provenance.is_empty() && page.commands.is_empty()),
        ),
    ];
    all.into_iter().filter(|(_, _, there)| *there).map(|(id, name, _)| context! { id, name }).collect()
}

fn figure_view(figure: &Figure) -> Value {
    let safe = |text: String| Value::from_safe_string(text);
    let panels = figure.panels.iter().map(|panel| {
        context! {
            title => &panel.title,
            wide => panel.wide.as_ref().map(|svg| safe(svg.inline())),
            narrow => safe(panel.narrow.inline()),
        }
    });
    context! { panels => panels.collect::<Vec<_>>(), caption => &figure.caption }
}

/// Sentences in which `code` and --flags are set as code and do not break.
fn prose(sentences: &[String]) -> Vec<Value> {
    let word = |word: &str| match word.starts_with("--") && word.len() > 2 {
        true => {
            let (flag, rest) = word.split_at(word.trim_end_matches(|c: char| !c.is_alphanumeric()).len());
            format!("<code>{}</code>{}", svg::escape(flag), svg::escape(rest))
        }
        false => svg::escape(word),
    };
    let plain = |text: &str| text.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let sentence = |sentence: &String| {
        let parts: Vec<&str> = sentence.split('`').collect();
        // A back-tick without a partner is only a character.
        if parts.len().is_multiple_of(2) {
            return plain(sentence);
        }
        let part = |(at, part): (usize, &&str)| {
            if at % 2 == 1 { format!("<code>{}</code>", svg::escape(part)) } else { plain(part) }
        };
        parts.iter().enumerate().map(part).collect()
    };
    sentences.iter().map(|text| Value::from_safe_string(sentence(text))).collect()
}

fn pairs(pairs: &[(String, String)]) -> Vec<Value> {
    pairs.iter().map(|(name, value)| context! { name, value }).collect()
}

fn table(page: &Page, palette: &Palette) -> Option<Value> {
    // Numbers such as the IPC belong to the name, words come last: a phone then shows name, top-1 and gain without scrolling.
    let varying = |kind| SETTINGS.iter().filter(move |setting| setting.kind == kind && setting.varies(&page.table));
    let heads = |kind| varying(kind).map(|setting| setting.name).collect::<Vec<_>>();
    let mut explained: Vec<&str> = Vec::new();
    let rows = page.table.iter().enumerate().map(|(at, row)| {
        let settings = |kind| varying(kind).map(|setting| (setting.value)(row)).collect::<Vec<_>>();
        let known = explained.contains(&row.method.as_str());
        explained.push(&row.method);
        context! {
            starts => at > 0 && !row.same_setting(&page.table[at - 1]),
            method => &row.method,
            about => (!known).then_some(row.about.as_str()),
            colour => palette.class(&row.method),
            baseline => row.method == page.baseline,
            numbers => settings(Kind::Number),
            texts => settings(Kind::Text),
            top1 => words::mean_sd(&row.top1),
            top5 => words::mean_sd(&row.top5),
            gain => gain(row),
            best => row.best_top1.as_ref().map(words::mean_sd),
            images => row.gain_over_images.map(words::interval),
            ranking => ranking(row),
            size => words::bytes(row.image_bytes),
            labels => words::bytes(row.label_bytes),
            train => words::seconds(row.train_seconds),
            score => (row.score_seconds > 0.0).then(|| words::seconds(row.score_seconds)),
        }
    });
    let rows: Vec<Value> = rows.collect();
    (!page.table.is_empty()).then(|| {
        context! {
            number_heads => heads(Kind::Number),
            text_heads => heads(Kind::Text),
            shared => columns::shared(&page.table).join(", "),
            several_seeds => page.table.iter().any(|row| row.top1.sd.is_some()),
            gains => page.table.iter().any(|row| row.gain.is_some()),
            images => page.table.iter().any(|row| row.gain_over_images.is_some()),
            best => page.table.iter().any(|row| row.best_top1.is_some()),
            ranking_heads => page.table.iter().any(|row| row.ranking.is_some()).then(|| RANKINGS.map(|(head, _)| head).to_vec()),
            rows,
        }
    })
}

/// DD-Ranking's scores, or nothing where the table has none.
fn ranking(row: &TableRow) -> Vec<String> {
    RANKINGS
        .map(|(_, score)| row.ranking.as_ref().map_or(words::NONE.into(), |found| words::percent(score(found))))
        .to_vec()
}

fn gain(row: &TableRow) -> Option<Value> {
    row.gain.as_ref().map(|gain| {
        let class = match gain.clear {
            Clear::Better => "better",
            Clear::Worse => "worse",
            Clear::NoClearDifference | Clear::Unknown => "unclear",
        };
        context! { text => words::gain(gain), reading => words::clear(gain.clear), class }
    })
}

/// Top-1 by class as a table of methods × classes; methods in the order of their first appearance.
fn classes(page: &Page, palette: &Palette) -> Option<Value> {
    let mut methods: Vec<&str> = Vec::new();
    for (method, _) in page.classes.iter().flat_map(|class| &class.values) {
        if !methods.contains(&method.as_str()) {
            methods.push(method);
        }
    }
    let row = |class: &super::data::ClassBar| {
        let cells = methods.iter().map(|method| {
            let value = class.values.iter().find(|(name, _)| name == method).and_then(|(_, value)| *value);
            let value = value.filter(|value| value.is_finite());
            context! {
                text => value.map_or(words::NONE.to_owned(), words::percent),
                share => value.map_or(0, |value| value.clamp(0.0, 100.0).round() as u32),
            }
        });
        context! { class => &class.class, cells => cells.collect::<Vec<_>>() }
    };
    let drawn = |row: &&TableRow| methods.contains(&row.method.as_str());
    (!methods.is_empty()).then(|| {
        context! {
            methods => methods.iter().map(|&name| context! { name, colour => palette.class(name) }).collect::<Vec<_>>(),
            seeds => words::seeds_of(page.table.iter().filter(drawn).map(|row| row.n)),
            rows => page.classes.iter().map(row).collect::<Vec<_>>(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::data::{ClassBar, Picture};
    use crate::report::example;

    /// The values of `src` and `href` attributes, of whatever element.
    fn addresses(html: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for tag in html.split('<').skip(1) {
            let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
            for key in [" src=\"", " href=\"", " srcset=\"", " data=\"", " xlink:href=\""] {
                for value in tag.split(key).skip(1) {
                    found.push((name.clone(), value.split('"').next().unwrap_or_default().to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn the_page_loads_nothing() {
        let html = render(&example::page()).expect("the example is valid");
        let addresses = addresses(&html);
        assert!(addresses.iter().any(|(_, address)| address.starts_with("data:image/")), "pictures are inside");
        for (element, address) in addresses {
            let inside = address.starts_with("data:image/") || address.starts_with('#');
            let paper = element == "a" && address.starts_with("https://arxiv.org/abs/");
            assert!(inside || paper, "<{element}> asks for {address}");
        }
        for word in ["<script", "<link", "@import", "url(", "<iframe", " onload", " onclick"] {
            assert!(!html.contains(word), "{word} is on the page");
        }
    }

    #[test]
    fn text_from_outside_stays_text() {
        let evil = "<b onclick=x>\"&'</b>";
        let mut page = example::page();
        (page.title, page.subtitle, page.baseline) = (evil.into(), evil.into(), evil.into());
        for text in page.findings.iter_mut().chain(&mut page.warnings).chain(&mut page.commands) {
            *text = evil.into();
        }
        for row in &mut page.table {
            (row.method, row.about, row.crop) = (evil.into(), evil.into(), evil.into());
        }
        page.table[0].student = evil.into();
        page.curves.iter_mut().for_each(|curve| curve.method = evil.into());
        page.histograms
            .iter_mut()
            .for_each(|histogram| (histogram.title, histogram.x_label) = (evil.into(), evil.into()));
        page.galleries.iter_mut().for_each(|gallery| (gallery.method, gallery.note) = (evil.into(), evil.into()));
        page.choices.iter_mut().for_each(|strip| strip.class = evil.into());
        let pictures = page.choices.iter_mut().flat_map(|strip| strip.kept.iter_mut().chain(&mut strip.dropped));
        let pictures = pictures.chain(page.galleries.iter_mut().flat_map(|gallery| &mut gallery.images));
        pictures.for_each(|picture| (picture.class, picture.caption) = (evil.into(), evil.into()));
        page.classes = vec![ClassBar { class: evil.into(), values: vec![(evil.into(), Some(50.0))] }];
        page.protocol = vec![(evil.into(), evil.into())];
        page.provenance = vec![(evil.into(), evil.into())];
        let html = render(&page).expect("any text is valid");
        assert!(!html.contains("<b onclick") && !html.contains("</b>"), "markup came through");
        assert!(html.matches("&lt;b onclick").count() > 30, "and it is shown as text");
        assert!(!html.contains("\"\"&amp;"), "quotes do not end attributes");
    }

    #[test]
    fn code_in_a_sentence() {
        let check = |text: &str, html: &str| assert_eq!(prose(&[text.to_owned()])[0].to_string(), html);
        check("raise --seeds, then `a < b`.", "raise <code>--seeds</code>, then <code>a &lt; b</code>.");
        check("one ` alone & --", "one ` alone &amp; --");
        check("<i> `x`", "&lt;i&gt; <code>x</code>");
    }

    #[test]
    fn a_picture_that_is_none_is_an_error() {
        let mut page = example::page();
        page.galleries[0].images[0] = Picture { mime: "text/html".into(), ..page.galleries[0].images[0].clone() };
        let error = render(&page).expect_err("not a picture").to_string();
        assert!(error.contains("text/html") && error.contains("image/png"), "{error}");
    }

    #[test]
    fn empty_sections_vanish() {
        let full = render(&example::page()).expect("the example is valid");
        let empty = render(&Page { title: "empty".into(), ..Page::default() }).expect("an empty page is a page");
        for id in ["results", "images", "choices", "scores", "training", "classes", "repeat"] {
            assert!(full.contains(&format!("id=\"{id}\"")), "{id} is missing");
            assert!(!empty.contains(&format!("id=\"{id}\"")), "{id} is there, empty");
        }
        assert!(!empty.contains("<figure") && !empty.contains("<table") && !empty.contains("<nav"));
        let budgets = render(&example::budgets()).expect("the example is valid");
        assert!(budgets.contains("id=\"budget\"") && !full.contains("id=\"budget\""));
    }

    #[test]
    fn the_table_says_what_is_clear() {
        let mut page = example::page();
        page.table[1] = example::one_seed(page.table[1].clone());
        let html = render(&page).expect("the example is valid");
        for words in ["no clear difference", "one seed", "better", "worse", "10 stored images per class"] {
            assert!(html.contains(words), "{words} is missing");
        }
        assert!(html.contains("image-rendering: pixelated"));
    }

    #[test]
    fn numbers_that_are_none_do_no_harm() {
        let mut page = example::budgets();
        let odd = [f64::NAN, f64::INFINITY, -1.0, 1e300, 0.0];
        for (row, &value) in page.table.iter_mut().zip(odd.iter().cycle()) {
            (row.top1.mean, row.top1.sd, row.train_seconds, row.score_seconds) = (value, Some(value), value, value);
            row.top1.values = odd.to_vec();
            (row.top5.mean, row.image_bytes, row.label_bytes) = (value, u64::MAX, u64::MAX);
        }
        page.curves[0].points = odd.iter().flat_map(|&x| odd.map(|y| (x, y))).collect();
        for (bin, &value) in page.histograms[0].bins.iter_mut().zip(odd.iter().cycle()) {
            (bin.low, bin.high, bin.kept, bin.dropped) = (value, 1.0, u32::MAX, u32::MAX);
        }
        page.classes[0].values = odd.iter().map(|&value| ("pca".to_owned(), Some(value))).collect();
        let html = render(&page).expect("any numbers are valid");
        assert!(!html.contains("NaN") && !html.contains("inf<") && !html.contains("\"inf"));
        let text = crate::report::table::terminal(&page.table, "random") + &crate::report::table::csv(&page.table);
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }

    #[test]
    fn every_picture_has_words_and_every_figure_a_caption() {
        let html = render(&example::page()).expect("the example is valid");
        let images: Vec<&str> = html.split("<img").skip(1).collect();
        assert!(!images.is_empty());
        for image in images {
            let tag = image.split('>').next().unwrap_or_default();
            assert!(tag.contains(" alt=\"") && !tag.contains(" alt=\"\"") && tag.contains("loading="), "{tag:.200}");
        }
        assert!(html.matches("<figure").count() > 0);
        assert_eq!(html.matches("<figure").count(), html.matches("<figcaption").count());
        assert_eq!(html.matches("<svg class=\"plot\"").count(), html.matches("role=\"img\" aria-label=").count());
    }
}
