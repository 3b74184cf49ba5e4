//! The figures. Each is drawn twice, for a wide and for a narrow screen, because text in a drawing that is merely scaled down
//! cannot be read; the page shows the one that fits.

pub mod axis;
pub mod budget;
pub mod curves;
pub mod dots;
pub mod histogram;
pub mod spread;

use super::data::Page;
use super::svg::Svg;

/// Number of colours before they repeat, the baseline's grey apart.
const COLOURS: usize = 8;

/// A figure: one or more drawings under one caption.
pub struct Figure {
    /// Stem of its file names.
    pub name: &'static str,
    /// Its drawings; a drawing that has a title is one of several.
    pub panels: Vec<Panel>,
    /// What is shown, how many seeds, and what the whiskers mean.
    pub caption: String,
}

/// One drawing of a figure.
pub struct Panel {
    /// What sets it apart from its neighbours; empty if it is alone.
    pub title: String,
    /// For a screen of at least 760 pixels; none if the narrow one serves there too.
    pub wide: Option<Svg>,
    /// For a phone, or for one of several panels side by side.
    pub narrow: Svg,
}

/// The room that a drawing is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The text column of a desktop.
    Wide,
    /// A phone, or half of the column.
    Narrow,
}

impl Room {
    /// Width in pixels.
    pub fn width(self) -> f64 {
        match self {
            Room::Wide => 760.0,
            Room::Narrow => 350.0,
        }
    }

    /// One value for a wide room, another for a narrow one.
    pub fn either<T>(self, wide: T, narrow: T) -> T {
        match self {
            Room::Wide => wide,
            Room::Narrow => narrow,
        }
    }
}

/// Which colour belongs to which method, the same in every figure: the baseline is grey, the others take colours in the order of
/// the table.
pub struct Palette<'a> {
    baseline: &'a str,
    methods: Vec<&'a str>,
}

impl<'a> Palette<'a> {
    /// The colours of a page.
    pub fn of(page: &'a Page) -> Palette<'a> {
        let from_table = page.table.iter().map(|row| row.method.as_str());
        let mut methods: Vec<&str> = Vec::new();
        for method in from_table.chain(page.curves.iter().map(|curve| curve.method.as_str())) {
            if method != page.baseline && !methods.contains(&method) {
                methods.push(method);
            }
        }
        Palette { baseline: &page.baseline, methods }
    }

    /// The style class of a method: `s0` for the baseline, then `s1` to `s8`; from the ninth on also dashed.
    pub fn class(&self, method: &str) -> String {
        if method == self.baseline {
            return "s0".to_owned();
        }
        let at = self.methods.iter().position(|known| *known == method).unwrap_or(self.methods.len());
        let dashed = if at >= COLOURS { " again" } else { "" };
        format!("s{}{dashed}", at % COLOURS + 1)
    }
}

/// All figures that the page has data for, in its order.
pub fn all(page: &Page) -> Vec<Figure> {
    let palette = Palette::of(page);
    [
        dots::figure(page, &palette),
        budget::figure(page, &palette),
        histogram::figure(page),
        curves::figure(page, &palette),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The figures as files of their own: name and content, for a results folder or a README.
pub fn figures(page: &Page) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for figure in all(page) {
        let many = figure.panels.len() > 1;
        for (at, panel) in figure.panels.iter().enumerate() {
            let number = if many { format!("-{}", at + 1) } else { String::new() };
            files.push((
                format!("{}{number}.svg", figure.name),
                panel.wide.as_ref().unwrap_or(&panel.narrow).standalone(),
            ));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn colours_are_the_methods_own() {
        let page = example::page();
        let palette = Palette::of(&page);
        assert_eq!(palette.class("random"), "s0");
        assert_eq!(palette.class("el2n-easy"), "s1");
        assert_eq!(palette.class("pca"), "s4");
        let mut page = Page { baseline: "b".into(), ..Page::default() };
        page.curves = (0..10).map(|i| super::super::data::Curve { method: format!("m{i}"), points: vec![] }).collect();
        let palette = Palette::of(&page);
        assert_eq!([palette.class("m0"), palette.class("m7"), palette.class("m8")], ["s1", "s8", "s1 again"]);
    }

    #[test]
    fn figures_are_files_of_their_own() {
        let files = figures(&example::page());
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["top1.svg", "scores-1.svg", "scores-2.svg", "loss.svg"]);
        assert!(files.iter().all(|(_, svg)| svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>")));
        assert!(figures(&Page::default()).is_empty());
    }
}
