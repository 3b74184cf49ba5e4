//! Drawing in SVG, as text: the few shapes that the figures need. Colours and strokes are classes, so that one style sheet
//! serves the page, a dark screen, paper and a file of its own.

use std::fmt::Write;

/// The style of every figure; part of the page and of each standalone file.
pub const STYLE: &str = include_str!("plots.css");

/// Room around a drawing in a file of its own, in pixels.
const MARGIN: f64 = 14.0;

/// A drawing with a name.
pub struct Svg {
    size: (f64, f64),
    body: String,
    label: String,
}

/// Which part of a text stands at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Its left end.
    Start,
    /// Its middle.
    Middle,
    /// Its right end.
    End,
}

/// A point: right and down, in pixels.
pub type Point = (f64, f64);

impl Svg {
    /// An empty drawing; `label` says what it shows to those who do not see it.
    pub fn new(width: f64, height: f64, label: &str) -> Svg {
        Svg { size: (width, height), body: String::new(), label: label.to_owned() }
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: Point, to: Point) {
        let (x1, y1, x2, y2) = (px(from.0), px(from.1), px(to.0), px(to.1));
        let _ =
            write!(self.body, "<line class=\"{}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>", escape(class));
    }

    /// A rectangle from its upper left corner.
    pub fn rect(&mut self, class: &str, corner: Point, size: Point, tip: &str) {
        let (x, y, width, height) = (px(corner.0), px(corner.1), px(size.0.max(0.0)), px(size.1.max(0.0)));
        let _ = write!(
            self.body,
            "<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"{}",
            escape(class),
            closing("rect", tip)
        );
    }

    /// A filled circle. `tip` shows under the pointer; it may be empty.
    pub fn dot(&mut self, class: &str, centre: Point, radius: f64, tip: &str) {
        let (x, y, r) = (px(centre.0), px(centre.1), px(radius));
        let _ = write!(
            self.body,
            "<circle class=\"{}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\"{}",
            escape(class),
            closing("circle", tip)
        );
    }

    /// A line through points.
    pub fn polyline(&mut self, class: &str, points: &[Point]) {
        let points: Vec<String> = points.iter().map(|&(x, y)| format!("{},{}", px(x), px(y))).collect();
        let _ = write!(self.body, "<polyline class=\"{}\" points=\"{}\"/>", escape(class), points.join(" "));
    }

    /// A line of text on its baseline.
    pub fn text(&mut self, class: &str, at: Point, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y) = (px(at.0), px(at.1));
        let _ =
            write!(self.body, "<text class=\"{}\" x=\"{x}\" y=\"{y}\"{anchor}>{}</text>", escape(class), escape(text));
    }

    /// The drawing as an element of a page. Its style is the page's.
    pub fn inline(&self) -> String {
        self.element("", 0.0, "")
    }

    /// The drawing as a file of its own, with its style inside and a margin on a background.
    pub fn standalone(&self) -> String {
        let (edge, width, height) = (px(-MARGIN), px(self.size.0 + 2.0 * MARGIN), px(self.size.1 + 2.0 * MARGIN));
        let paper = format!("<rect class=\"paper\" x=\"{edge}\" y=\"{edge}\" width=\"{width}\" height=\"{height}\"/>");
        self.element(" xmlns=\"http://www.w3.org/2000/svg\"", MARGIN, &format!("<style>{STYLE}</style>{paper}")) + "\n"
    }

    fn element(&self, namespace: &str, margin: f64, first: &str) -> String {
        let (edge, label) = (px(-margin), escape(&self.label));
        let (width, height) = (px(self.size.0 + 2.0 * margin), px(self.size.1 + 2.0 * margin));
        format!(
            "<svg{namespace} class=\"plot\" viewBox=\"{edge} {edge} {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{label}\"><title>{label}</title>{first}{}</svg>",
            self.body
        )
    }
}

/// The end of an element, with a tip inside where there is one.
fn closing(element: &str, tip: &str) -> String {
    if tip.is_empty() { "/>".to_owned() } else { format!("><title>{}</title></{element}>", escape(tip)) }
}

/// A coordinate with at most one decimal. What is not finite goes to 0, where it harms nothing.
fn px(value: f64) -> String {
    let value = if value.is_finite() { value } else { 0.0 };
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Text inside an element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML knows no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// About how wide a text is at a font size; rather too wide than too narrow.
pub fn text_width(text: &str, font_size: f64) -> f64 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | 't' | 'f' | 'r' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' | '(' | ')' | ' ' | '-' => 0.4,
            'm' | 'w' | 'M' | 'W' | '@' | '%' | '±' | '−' => 0.92,
            'A'..='Z' => 0.72,
            c if c >= '\u{1100}' => 1.05,
            _ => 0.63,
        })
        .sum();
    em * font_size
}

/// About how wide a label in the bold of a series is.
pub fn series_width(text: &str, font_size: f64) -> f64 {
    BOLD * text_width(text, font_size)
}

/// How much wider bold is.
pub const BOLD: f64 = 1.12;

/// The text, cut with an ellipsis to fit a width.
pub fn fit(text: &str, font_size: f64, width: f64) -> String {
    if text_width(text, font_size) <= width {
        return text.to_owned();
    }
    let mut cut: Vec<char> = text.chars().collect();
    while cut.pop().is_some() {
        let short: String = cut.iter().collect::<String>().trim_end().to_owned() + "…";
        if text_width(&short, font_size) <= width {
            return short;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_text() {
        let mut svg = Svg::new(10.0, 10.0, "<b> & \"c\"");
        svg.text("label", (0.0, 5.0), Anchor::End, "</text><script>'\u{1}");
        svg.dot("dot", (1.0, 1.0), 2.0, "a < b");
        let text = svg.inline();
        assert!(!text.contains("<b>") && !text.contains("<script>") && !text.contains('\u{1}'), "{text}");
        assert!(text.contains("aria-label=\"&lt;b&gt; &amp; &quot;c&quot;\"><title>&lt;b&gt;"), "{text}");
        assert!(text.contains("text-anchor=\"end\">&lt;/text&gt;&lt;script&gt;&#39; </text>"), "{text}");
        assert!(
            text.contains("<circle class=\"dot\" cx=\"1\" cy=\"1\" r=\"2\"><title>a &lt; b</title></circle>"),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_short_and_finite() {
        assert_eq!([1.0, 1.25, -0.01, f64::NAN, f64::INFINITY].map(px), ["1", "1.2", "0", "0", "0"]);
    }

    #[test]
    fn a_standalone_file_brings_its_style() {
        let file = Svg::new(1.0, 1.0, "x").standalone();
        assert!(file.starts_with("<svg xmlns=") && file.contains("<style>") && file.contains("prefers-color-scheme"));
        assert!(!file.contains("url(") && !file.contains("@import"), "nothing is loaded");
    }

    /// The colour of a variable in the first or last rule that sets it: the light and the dark scheme.
    fn colour(name: &str, dark: bool) -> [f64; 3] {
        let key = format!("--{name}: #");
        let at = if dark { STYLE.rfind(&key) } else { STYLE.find(&key) }.expect("the style sets it");
        let hex = &STYLE[at + key.len()..][..6];
        [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("a hexadecimal colour")) / 255.0)
    }

    /// WCAG 2: the ratio of relative luminances.
    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let linear = |v: f64| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
        let luminance = |[r, g, b]: [f64; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_text_can_be_read_in_both_schemes() {
        assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
        let names = ["ink", "muted", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "better", "worse"];
        for (name, dark) in names.iter().flat_map(|name| [(name, false), (name, true)]) {
            let ratio = contrast(colour(name, dark), colour("paper", dark));
            assert!(ratio >= 4.5, "--{name} has {ratio:.2} on {} paper", if dark { "dark" } else { "light" });
        }
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(fit("short", 12.0, 100.0), "short");
        let cut = fit("a very long name of a class", 12.0, 80.0);
        assert!(cut.ends_with('…') && text_width(&cut, 12.0) <= 80.0, "{cut}");
        assert_eq!(fit("anything", 12.0, 1.0), "");
    }
}
