//! JPEG through libjpeg-turbo, set as Pillow sets it: exact integer DCT, fancy upsampling, CMYK taken as Adobe writes it.
//!
//! The safe wrapper refuses every file with a warning, where Pillow goes on for all warnings but a file that ends too early.
//! So the C functions are called here, in one place.

use super::{bad, checked};
use crate::error::{Error, Result};
use crate::pixels::Rgb;
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

/// Decodes a JPEG to RGB.
pub(super) fn decode(bytes: &[u8]) -> Result<Rgb> {
    let mut decoder = Decoder::new()?;
    let header = decoder.header(bytes)?;
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
    let mut at = 2;
    while let Some(&[first, marker]) = bytes.get(at..at + 2) {
        match (first, marker) {
            (0xFF, 0xD9) => return true,
            // A segment with a length; after a start of scan its entropy-coded bytes are stepped over one by one.
            (0xFF, 0xC0..=0xCF | 0xDA..=0xEF | 0xFE) => {
                let size = bytes.get(at + 2..at + 4).map_or(0, |size| usize::from(size[0]) << 8 | usize::from(size[1]));
                at += 2 + size;
            }
            _ => at += 1,
        }
    }
    false
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
