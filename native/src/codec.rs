//! Zstandard, by the reference library.

use deathtensors_core::{Code, Codec, Error, Result};
use std::cell::RefCell;
use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, compress_bound, find_frame_compressed_size, get_error_name,
};

/// The codec of compressed blobs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Zstd;

thread_local! {
    // Contexts are megabytes large and keep nothing between frames.
    static ENCODER: RefCell<Option<(i32, CCtx<'static>)>> = const { RefCell::new(None) };
    static DECODER: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

impl Codec for Zstd {
    fn decode(&self, stored: &[u8], out: &mut [u8]) -> Result<()> {
        let wanted = out.len();
        let written = DECODER.with_borrow_mut(|slot| {
            slot.get_or_insert_with(DCtx::create)
                .decompress(out, stored)
                .map_err(get_error_name)
        });
        match written {
            Ok(n) if n == wanted => Ok(()),
            Ok(n) => Err(
                Error::new(Code::FramesShort, "a frame holds less than was declared")
                    .expected(format!("{wanted} bytes"))
                    .found(format!("{n} bytes")),
            ),
            Err(name) => Err(refusal(name).expected(format!("{wanted} bytes of data"))),
        }
    }
}

/// The library's reasons, as codes. It reports them by text only.
fn refusal(name: &str) -> Error {
    let reason = name.to_ascii_lowercase();
    let (code, message) = if reason.contains("checksum") {
        (
            Code::FramesChecksum,
            "a frame's checksum disagrees with its content",
        )
    } else if reason.contains("too small") {
        (Code::FramesInflate, "a frame holds more than was declared")
    } else {
        (Code::FramesDecode, "a frame is not well-formed zstd")
    };
    Error::new(code, message).found(reason)
}

impl Zstd {
    /// Decodes frames, one after the other, that hold `out` together.
    ///
    /// # Errors
    /// Those of [`Codec::decode`].
    pub(crate) fn decode_frames(&self, stored: &[u8], out: &mut [u8]) -> Result<()> {
        // The library calls a checksum that is cut off a wrong one.
        let mut rest = stored;
        while !rest.is_empty() {
            let length =
                find_frame_compressed_size(rest).map_err(|code| refusal(get_error_name(code)))?;
            rest = rest.get(length..).unwrap_or_default();
        }
        self.decode(stored, out)
    }

    /// Compresses one frame, with its size and checksum, into `out`, replacing
    /// what was there. The result depends on nothing but `data` and `level`.
    ///
    /// # Errors
    /// `usage.option` when the library refuses the level.
    pub fn encode(&self, data: &[u8], level: i32, out: &mut Vec<u8>) -> Result<()> {
        let refuse = |code| {
            Error::new(Code::UsageOption, "zstd refused to compress").found(get_error_name(code))
        };
        ENCODER.with_borrow_mut(|slot| {
            if slot.as_ref().is_none_or(|(held, _)| *held != level) {
                let mut context = CCtx::create();
                context
                    .set_parameter(CParameter::CompressionLevel(level))
                    .map_err(refuse)?;
                context
                    .set_parameter(CParameter::ChecksumFlag(true))
                    .map_err(refuse)?;
                context
                    .set_parameter(CParameter::ContentSizeFlag(true))
                    .map_err(refuse)?;
                *slot = Some((level, context));
            }
            let Some((_, context)) = slot else {
                return Ok(());
            };
            out.clear();
            out.reserve(compress_bound(data.len()));
            context.compress2(out, data).map_err(refuse)?;
            Ok(())
        })
    }
}
