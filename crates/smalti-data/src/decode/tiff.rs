//! Palettes in TIFF, which the library beneath does not know: the picture is read as grey, and each grey is looked up.

use image::DynamicImage;

/// Tags of a TIFF directory.
const BITS: u16 = 258;
const PHOTOMETRIC: u16 = 262;
const COLOUR_MAP: u16 = 320;

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
