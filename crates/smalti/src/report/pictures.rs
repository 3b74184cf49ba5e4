//! Pictures on the page: what is stored, and what was kept and dropped.

use super::data::{ClassStrip, Gallery, Picture};
use super::embed;
use super::plots::Palette;
use minijinja::{Value, context};

/// Pictures at most this wide and high are shown pixel by pixel.
const PIXELATED: u32 = 64;
/// So many classes of choices show at once; the others unfold.
const OPEN_CLASSES: usize = 10;

/// Galleries with the images of a class side by side.
///
/// # Errors
/// A picture that cannot be embedded.
pub fn galleries(galleries: &[Gallery], palette: &Palette) -> anyhow::Result<Vec<Value>> {
    let gallery = |gallery: &Gallery| {
        let groups = gallery.images.chunk_by(|a, b| a.class == b.class).map(|group| {
            let what =
                |picture: &Picture| format!("stored image of class {}, method {}", picture.class, gallery.method);
            Ok(context! { class => &group[0].class, columns => group.len().min(6), images => images(group, what)? })
        });
        Ok(context! {
            method => &gallery.method,
            colour => palette.class(&gallery.method),
            note => &gallery.note,
            groups => groups.collect::<anyhow::Result<Vec<_>>>()?,
        })
    };
    galleries.iter().filter(|gallery| !gallery.images.is_empty()).map(gallery).collect()
}

/// Choices class by class: those that show, and those that unfold.
///
/// # Errors
/// A picture that cannot be embedded.
pub fn choices(strips: &[ClassStrip]) -> anyhow::Result<Option<Value>> {
    let strip = |strip: &ClassStrip| {
        let kept = images(&strip.kept, |picture| format!("kept image of class {}", picture.class))?;
        let dropped = images(&strip.dropped, |picture| format!("dropped image of class {}", picture.class))?;
        let columns = strip.kept.len().max(strip.dropped.len()).clamp(1, 8);
        Ok(context! { class => &strip.class, columns, kept, dropped })
    };
    let mut open = strips.iter().map(strip).collect::<anyhow::Result<Vec<Value>>>()?;
    let folded = open.split_off(OPEN_CLASSES.min(open.len()));
    Ok((!open.is_empty()).then(|| context! { open, folded }))
}

fn images(pictures: &[Picture], what: impl Fn(&Picture) -> String) -> anyhow::Result<Vec<Value>> {
    let image = |picture: &Picture| {
        let (width, height) = picture.size;
        let score = if picture.caption.is_empty() { String::new() } else { format!(", {}", picture.caption) };
        Ok(context! {
            src => Value::from_safe_string(embed::data_uri(picture)?),
            alt => what(picture) + &score,
            caption => &picture.caption,
            width => width.max(1),
            height => height.max(1),
            pixelated => width.max(height) <= PIXELATED,
        })
    };
    pictures.iter().map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::data::Page;
    use crate::report::example;

    #[test]
    fn many_classes_unfold() {
        let page = Page { choices: vec![example::page().choices[0].clone(); 25], ..Page::default() };
        let html = crate::report::render(&page).expect("the example is valid");
        assert!(html.contains("<details") && html.contains("15 more classes"));
        let few = crate::report::render(&example::page()).expect("the example is valid");
        assert!(!few.contains("<details"));
    }

    #[test]
    fn only_small_pictures_show_their_pixels() {
        let palette_page = Page::default();
        let mut gallery = example::page().galleries[0].clone();
        gallery.images.truncate(2);
        gallery.images[0].size = (64, 64);
        gallery.images[1].size = (64, 65);
        let views = galleries(&[gallery], &Palette::of(&palette_page)).expect("the example is valid");
        let text = format!("{views:?}");
        assert!(
            text.contains("'height': 64, 'pixelated': True") && text.contains("'height': 65, 'pixelated': False"),
            "{text}"
        );
    }
}
