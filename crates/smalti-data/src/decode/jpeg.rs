//! JPEG through libjpeg-turbo, set as Pillow sets it: exact integer DCT, fancy upsampling, CMYK taken as Adobe writes it.
//!
//! The safe wrapper refuses every file with a warning, where Pillow goes on for all warnings but a file that ends too early.
//! So the C functions are called here, in one place.

use super::{bad, checked, orientation};
use crate::error::{Error, Result};
use crate::pixels::Rgb;
use image::metadata::Orientation as Turn;
use std::ffi::{CStr, c_int, c_ulong};
use turbojpeg::raw;

/// Most scans of a progressive file; more is an attack on time, not an image.
const MAX_SCANS: c_int = 1000;

/// How the library's warnings begin (`jerror.h`).
const WARNINGS: [&str; 6] = [
    "Corrupt JPEG data",
    "Premature end of JPEG file",
    "Unknown Adobe color transform",
    "Inconsistent progression sequence",
    "Invalid SOS parameters for sequential",
    "Warning: unknown JFIF revision",
];

/// Decodes a JPEG to RGB, at 1 / `denominator` of its size in each direction: 1, 2, 4 or 8.
pub(super) fn decode(bytes: &[u8], denominator: u32) -> Result<Rgb> {
    let mut decoder = Decoder::new()?;
    let mut header = decoder.header(bytes)?;
    if denominator > 1 {
        decoder.scale(denominator)?;
        (header.width, header.height) = (header.width.div_ceil(denominator), header.height.div_ceil(denominator));
    }
    let (width, height) = (header.width, header.height);
    let pixels = width as usize * height as usize;
    let channels = if header.four_colours { 4 } else { 3 };
    let mut data = vec![0; pixels * channels];
    let warning = decoder.pixels(bytes, &header, &mut data)?;
    if warning.is_some_and(|text| text.contains("Premature end") || !ends(bytes)) {
        return Err(bad("the file is cut short"));
    }
    let data = if header.four_colours { from_cmyk(&data) } else { data };
    Ok(Rgb { width, height, data })
}

/// Width and height from the header.
pub(super) fn dimensions(bytes: &[u8]) -> Result<(u32, u32)> {
    let header = Decoder::new()?.header(bytes)?;
    Ok((header.width, header.height))
}

/// What the EXIF or XMP segment asks for.
pub(super) fn orientation(bytes: &[u8]) -> Turn {
    let (mut exif, mut xmp) = (None, None);
    for (marker, segment) in segments(bytes) {
        match marker {
            0xE1 if segment.starts_with(b"Exif\0\0") => exif = exif.or(Some(segment)),
            0xE1 if segment.starts_with(XMP) => xmp = Some(&segment[XMP.len()..]),
            // Pixels follow; Pillow reads no metadata behind them.
            0xDA => break,
            _ => {}
        }
    }
    orientation::asked(exif, xmp)
}

/// How the segment of an XMP packet begins.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

struct Header {
    width: u32,
    height: u32,
    /// CMYK or YCCK.
    four_colours: bool,
}

/// A handle of the library; freed when dropped.
struct Decoder {
    handle: raw::tjhandle,
}

#[allow(unsafe_code, reason = "C functions; see the head of the module")]
impl Decoder {
    fn new() -> Result<Decoder> {
        // SAFETY: no precondition; a null handle is refused here.
        let handle = unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS as c_int) };
        if handle.is_null() {
            return Err(bad("the JPEG decoder has no memory"));
        }
        let decoder = Decoder { handle };
        // SAFETY: the handle is live; an unknown parameter is an error code, not a fault.
        unsafe { raw::tj3Set(handle, raw::TJPARAM_TJPARAM_SCANLIMIT as c_int, MAX_SCANS) };
        Ok(decoder)
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Header> {
        // SAFETY: the handle is live, and pointer and length are those of one slice.
        let code = unsafe { raw::tj3DecompressHeader(self.handle, bytes.as_ptr(), length(bytes)?) };
        self.outcome(code)?;
        let [width, height, precision, lossless, colours] = [
            raw::TJPARAM_TJPARAM_JPEGWIDTH,
            raw::TJPARAM_TJPARAM_JPEGHEIGHT,
            raw::TJPARAM_TJPARAM_PRECISION,
            raw::TJPARAM_TJPARAM_LOSSLESS,
            raw::TJPARAM_TJPARAM_COLORSPACE,
        ]
        // SAFETY: the handle is live.
        .map(|parameter| unsafe { raw::tj3Get(self.handle, parameter as c_int) });
        if precision != 8 || lossless != 0 {
            return Err(bad(format!("it is a {precision}-bit{} JPEG", if lossless != 0 { " lossless" } else { "" })));
        }
        let (width, height) = checked(u64::try_from(width).unwrap_or(0), u64::try_from(height).unwrap_or(0))?;
        let four_colours = colours == raw::TJCS_TJCS_CMYK as c_int || colours == raw::TJCS_TJCS_YCCK as c_int;
        Ok(Header { width, height, four_colours })
    }

    /// Pixels will come at 1 / `denominator` of their number in each direction.
    fn scale(&mut self, denominator: u32) -> Result<()> {
        let factor = raw::tjscalingfactor { num: 1, denom: denominator as c_int };
        // SAFETY: the handle is live; a factor the library does not know is an error code, not a fault.
        let code = unsafe { raw::tj3SetScalingFactor(self.handle, factor) };
        self.outcome(code).map(|_| ())
    }

    /// Fills `data` and returns the first warning, where there was one. `data` must hold the header's pixels.
    fn pixels(&mut self, bytes: &[u8], header: &Header, data: &mut [u8]) -> Result<Option<String>> {
        let (format, channels) = match header.four_colours {
            true => (raw::TJPF_TJPF_CMYK, 4),
            false => (raw::TJPF_TJPF_RGB, 3),
        };
        let pitch = header.width as usize * channels;
        assert_eq!(data.len(), pitch * header.height as usize, "the caller allocates what the header says");
        let pitch = c_int::try_from(pitch).map_err(|_| bad("it is too wide"))?;
        // SAFETY: the handle is live; the library reads the same header from the same bytes and writes `height` rows of
        // `pitch` bytes, which is what `data` holds.
        let code = unsafe {
            raw::tj3Decompress8(self.handle, bytes.as_ptr(), length(bytes)?, data.as_mut_ptr(), pitch, format as c_int)
        };
        self.outcome(code)
    }

    /// A warning's text, or the error.
    fn outcome(&mut self, code: c_int) -> Result<Option<String>> {
        if code == 0 {
            return Ok(None);
        }
        // SAFETY: the handle is live, and the text is copied before the next call changes it.
        let (kind, text) = unsafe {
            let text = CStr::from_ptr(raw::tj3GetErrorStr(self.handle)).to_string_lossy().into_owned();
            (raw::tj3GetErrorCode(self.handle), text)
        };
        // An error that follows a warning is reported as a warning too; its text tells them apart.
        let is_warning =
            kind == raw::TJERR_TJERR_WARNING as c_int && WARNINGS.iter().any(|start| text.starts_with(start));
        if is_warning { Ok(Some(text)) } else { Err(bad(text)) }
    }
}

#[allow(unsafe_code, reason = "C functions; see the head of the module")]
impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used again.
        unsafe { raw::tj3Destroy(self.handle) };
    }
}

fn length(bytes: &[u8]) -> Result<c_ulong, Error> {
    c_ulong::try_from(bytes.len()).map_err(|_| bad("the file is too large"))
}

/// Whether the file has the marker that ends an image. Warnings tell only of the first thing amiss, so a file may be cut as well.
fn ends(bytes: &[u8]) -> bool {
    segments(bytes).any(|(marker, _)| marker == 0xD9)
}

/// The markers of a file with the segments behind them. Entropy-coded bytes are stepped over one by one.
fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 2;
    std::iter::from_fn(move || {
        loop {
            let &[first, marker] = bytes.get(at..at + 2)? else { return None };
            match (first, marker) {
                (0xFF, 0xD9) => {
                    at = bytes.len();
                    return Some((marker, &bytes[..0]));
                }
                (0xFF, 0xC0..=0xCF | 0xDA..=0xEF | 0xFE) => {
                    let size = bytes.get(at + 2..at + 4).map_or(0, |s| usize::from(s[0]) << 8 | usize::from(s[1]));
                    let segment = bytes.get(at + 4..at + 2 + size).unwrap_or_default();
                    at += 2 + size;
                    return Some((marker, segment));
                }
                _ => at += 1,
            }
        }
    })
}

/// Pillow's rule: the inks are stored inverted, as Adobe does, and RGB = (255 - ink) * (255 - black), rounded.
fn from_cmyk(data: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(data.len() / 4 * 3);
    for pixel in data.chunks_exact(4) {
        let light = pixel[3];
        rgb.extend(pixel[..3].iter().map(|&paper| light.saturating_sub(times(255 - paper, light))));
    }
    rgb
}

/// a * b / 255, rounded as Pillow rounds it.
fn times(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}
