//! What the library beneath does not know of TIFF. Of palettes the picture is read as grey, and each grey is looked up; colour that was
//! multiplied by alpha is told, and what would become other pixels than Pillow's is refused.

use image::DynamicImage;

/// Tags of a TIFF directory.
const BITS: u16 = 258;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const SAMPLES: u16 = 277;
const COLOUR_MAP: u16 = 320;
const EXTRA_SAMPLES: u16 = 338;

/// Kinds of whole numbers that a tag may hold.
const BYTE: u16 = 1;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// A palette picture as a grey one, with its colours.
pub(super) struct Palette {
    /// The same file, but for the tag that says what its values mean.
    pub grey: Vec<u8>,
    colours: Vec<[u8; 3]>,
}

/// The first directory of a file.
struct Directory<'a> {
    bytes: &'a [u8],
    little: bool,
    /// Offset of the first of its entries, and their number.
    entries: (usize, usize),
}

impl Directory<'_> {
    fn of(bytes: &[u8]) -> Option<Directory<'_>> {
        let little = bytes.starts_with(b"II*\0");
        let mut directory = Directory { bytes, little, entries: (0, 0) };
        let at = directory.long(4)?;
        directory.entries = (at.checked_add(2)?, usize::from(directory.short(at)?));
        Some(directory)
    }

    fn short(&self, at: usize) -> Option<u16> {
        let two = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    }

    fn long(&self, at: usize) -> Option<usize> {
        let four = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(if self.little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }).ok()
    }

    /// Offset of the entry of a tag.
    fn entry(&self, tag: u16) -> Option<usize> {
        let (first, count) = self.entries;
        (0..count).map(|number| first + 12 * number).find(|&at| self.short(at) == Some(tag))
    }

    /// The first value of a tag, if it is a whole number that fits into 16 bits.
    fn first(&self, tag: u16) -> Option<u16> {
        let at = self.entry(tag)?;
        let (kind, count) = (self.short(at + 2)?, self.long(at + 4)?);
        let bytes = match kind {
            BYTE => 1,
            SHORT => 2,
            LONG => 4,
            _ => return None,
        };
        // Few values stand in the entry itself, more of them elsewhere.
        let place = if count <= 4 / bytes { at + 8 } else { self.long(at + 8)? };
        match kind {
            BYTE => self.bytes.get(place).copied().map(u16::from),
            SHORT => self.short(place),
            _ => u16::try_from(self.long(place)?).ok(),
        }
    }
}

/// What a file is, in words, if the library makes other pixels of it than Pillow does, or refuses it without a name.
pub(super) fn refused(bytes: &[u8]) -> Option<&'static str> {
    let directory = Directory::of(bytes)?;
    let grey = matches!(directory.first(PHOTOMETRIC), Some(0 | 1));
    if directory.first(FILL_ORDER) == Some(2) {
        return Some("a TIFF with the bits of each byte in reverse (FillOrder 2)");
    }
    if directory.first(PHOTOMETRIC) == Some(0) && directory.first(BITS) == Some(16) {
        return Some("a TIFF of 16 bits in which 0 is white");
    }
    (grey && directory.first(SAMPLES) == Some(2)).then_some("a TIFF of grey with alpha")
}

/// Whether colour was multiplied by alpha (associated alpha).
pub(super) fn is_multiplied(bytes: &[u8]) -> bool {
    Directory::of(bytes).and_then(|directory| directory.first(EXTRA_SAMPLES)) == Some(1)
}

impl Palette {
    /// The palette of a file with one of 1 or 8 bits; none for any other file.
    pub(super) fn of(bytes: &[u8]) -> Option<Palette> {
        let directory = Directory::of(bytes)?;
        let meaning = directory.entry(PHOTOMETRIC)? + 8;
        if directory.short(meaning)? != 3 {
            return None;
        }
        let bits = directory.entry(BITS).map_or(Some(1), |at| directory.short(at + 8))?;
        if bits != 1 && bits != 8 {
            return None;
        }
        let size = 1usize << bits;
        let map = directory.long(directory.entry(COLOUR_MAP)? + 8)?;
        // All reds, then all greens, then all blues, of 16 bits each; Pillow keeps the high byte.
        let value = |at: usize| directory.short(map.checked_add(2 * at)?).map(|value| (value >> 8) as u8);
        let colour = |at: usize| Some([value(at)?, value(size + at)?, value(2 * size + at)?]);
        let colours = (0..size).map(colour).collect::<Option<Vec<_>>>()?;
        let mut grey = bytes.to_vec();
        let black_is_zero = if directory.little { [1, 0] } else { [0, 1] };
        grey.get_mut(meaning..meaning + 2)?.copy_from_slice(&black_is_zero);
        Some(Palette { grey, colours })
    }

    /// The colours of a grey picture. One bit comes as 0 and 255.
    pub(super) fn rgb(&self, picture: DynamicImage) -> Vec<u8> {
        let last = self.colours.len() - 1;
        let greys = picture.into_luma8().into_raw();
        greys.into_iter().flat_map(|grey| self.colours[usize::from(grey).min(last)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{decode, dimensions};

    /// A grey picture of 2 x 2 pixels of zeros in one strip, with tags of its own.
    fn grey(order: &str, bits: u16, others: &[(u16, [u16; 2])]) -> Vec<u8> {
        let short = |value: u16| if order == "II" { value.to_le_bytes() } else { value.to_be_bytes() };
        let samples = others.iter().find(|(tag, _)| *tag == SAMPLES).map_or(1, |(_, values)| values[0]);
        let mut tags = vec![
            (256, [2, 0]),
            (257, [2, 0]),
            (BITS, [bits, bits]),
            (259, [1, 0]),
            (PHOTOMETRIC, [1, 0]),
            (278, [2, 0]),
            (279, [4 * samples * bits / 8, 0]),
        ];
        tags.retain(|(tag, _)| others.iter().all(|(other, _)| other != tag));
        tags.extend(others);
        let end = 8 + 2 + 12 * (tags.len() as u16 + 1) + 4;
        tags.push((273, [end, 0]));
        tags.sort_unstable();
        let mut bytes = order.as_bytes().to_vec();
        // The directory lies at byte 8; an offset is two 16-bit halves, whose order is that of the file.
        let halves = |low: u16| if order == "II" { [low, 0] } else { [0, low] };
        let head = [42, halves(8)[0], halves(8)[1], tags.len() as u16];
        head.into_iter().for_each(|value| bytes.extend(short(value)));
        for (tag, values) in tags {
            let count = if tag == BITS { samples } else { 1 };
            let entry = [tag, SHORT, halves(count)[0], halves(count)[1], values[0], values[1]];
            entry.into_iter().for_each(|value| bytes.extend(short(value)));
        }
        bytes.extend([0; 4]);
        bytes.extend(vec![0; usize::from(4 * samples * bits / 8)]);
        bytes
    }

    #[test]
    fn what_would_become_other_pixels_is_refused_by_name() {
        for order in ["II", "MM"] {
            for bits in [8, 16] {
                let plain = decode(&grey(order, bits, &[])).expect("plain grey is read");
                assert_eq!((plain.width, plain.height, plain.data[0]), (2, 2, 0));
            }
            let white = decode(&grey(order, 8, &[(PHOTOMETRIC, [0, 0])])).expect("white at 0 is read");
            assert_eq!(white.data[0], 255);
            assert!(decode(&grey(order, 8, &[(FILL_ORDER, [1, 0])])).is_ok(), "the usual order");
            type Tag = (u16, [u16; 2]);
            let cases: [(u16, &[Tag], &str); 3] = [
                (8, &[(FILL_ORDER, [2, 0])], "FillOrder 2"),
                (16, &[(PHOTOMETRIC, [0, 0])], "16 bits in which 0 is white"),
                (8, &[(SAMPLES, [2, 0]), (EXTRA_SAMPLES, [2, 0])], "grey with alpha"),
            ];
            for (bits, others, words) in cases {
                let file = grey(order, bits, others);
                for error in [decode(&file).expect_err(words), dimensions(&file).expect_err(words)] {
                    let error = error.to_string();
                    assert!(error.contains(words) && error.ends_with("convert it to PNG"), "{error}");
                }
            }
        }
    }

    #[test]
    fn first_values_are_found_in_the_entry_and_elsewhere() {
        let file = grey("II", 8, &[(SAMPLES, [1, 0]), (EXTRA_SAMPLES, [1, 0])]);
        assert!(is_multiplied(&file) && !is_multiplied(b"II*\0") && refused(b"MM\0*\xFF\xFF\xFF\xFF").is_none());
        // Three values do not fit into the entry; their place is the file's first byte, `II`.
        let mut elsewhere = file;
        let at = Directory::of(&elsewhere).and_then(|directory| directory.entry(EXTRA_SAMPLES)).expect("it is there");
        elsewhere[at + 4] = 3;
        elsewhere[at + 8] = 0;
        assert_eq!(Directory::of(&elsewhere).and_then(|directory| directory.first(EXTRA_SAMPLES)), Some(0x4949));
        elsewhere[at + 2] = 5;
        assert_eq!(Directory::of(&elsewhere).and_then(|directory| directory.first(EXTRA_SAMPLES)), None);
    }
}
