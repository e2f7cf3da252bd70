//! Models to write, files made by hand, and damage.

use deathtensors::core::digest::sha256;
use deathtensors::{
    Backend, Code, Dtype, Error, OpenOptions, Piece, Progress, RangeSource, Result, TensorFile,
    TensorSpec, TensorWriter, WriteOptions,
};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub const COMPRESSED: u32 = 1;
pub const FOOTER: u32 = 2;
/// The shortest frames there are, so that small tensors have many.
pub const SMALL_FRAMES: u64 = 1 << 10;

/// Bytes that do not compress, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Tensors with their bytes.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub specs: Vec<TensorSpec>,
    pub data: Vec<Vec<u8>>,
    pub metadata: BTreeMap<String, String>,
}

impl Model {
    /// Adds a tensor of noise.
    pub fn with(mut self, name: &str, dtype: Dtype, shape: &[u64]) -> Self {
        let nbytes = dtype.nbytes(shape).unwrap() as usize;
        self.data.push(noise(nbytes, self.specs.len() as u64));
        self.specs.push(TensorSpec::new(name, dtype, shape));
        self
    }

    /// Adds a tensor that is tied to an earlier one.
    pub fn tied(mut self, name: &str, to: usize) -> Self {
        let mut spec = self.specs[to].clone();
        spec.name = name.into();
        spec.alias_of = Some(to);
        self.specs.push(spec);
        self.data.push(self.data[to].clone());
        self
    }

    /// Adds metadata of the whole file.
    pub fn saying(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The bytes that a writer wants, in order.
    pub fn wanted(&self) -> Vec<&[u8]> {
        let untied = self.specs.iter().zip(&self.data);
        untied
            .filter(|(spec, _)| spec.alias_of.is_none())
            .map(|(_, data)| data.as_slice())
            .collect()
    }

    pub fn create(&self, path: &Path, options: &WriteOptions) -> TensorWriter {
        TensorWriter::create(path, &self.specs, &self.metadata, options).unwrap()
    }

    pub fn write(&self, path: &Path, options: &WriteOptions) {
        let mut writer = self.create(path, options);
        writer.push_all(&self.wanted(), &mut ()).unwrap();
        writer.finish().unwrap();
    }

    /// Asserts that the file holds these tensors, bytes and all.
    #[track_caller]
    pub fn assert_in(&self, file: &TensorFile) {
        for (spec, data) in self.specs.iter().zip(&self.data) {
            let tensor = file.header().get(&spec.name).unwrap();
            assert_eq!((tensor.dtype, tensor.shape), (spec.dtype, &*spec.shape));
            assert!(*file.read(&spec.name).unwrap() == **data, "{}", spec.name);
        }
    }

    /// The same, and nothing else.
    #[track_caller]
    pub fn assert_is(&self, path: &Path) {
        let file = TensorFile::open(path).unwrap();
        assert_eq!(file.header().len(), self.specs.len());
        self.assert_in(&file);
    }
}

/// What a file carries beside its tensors, and whether it is compressed.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    pub checksum: bool,
    pub compress: bool,
    pub digests: bool,
}

impl With {
    pub const ALL: [Self; 8] = {
        let mut all = [Self::PLAIN; 8];
        let mut n = 0;
        while n < 8 {
            all[n] = Self {
                checksum: n & 1 != 0,
                compress: n & 2 != 0,
                digests: n & 4 != 0,
            };
            n += 1;
        }
        all
    };
    pub const PLAIN: Self = Self {
        checksum: false,
        compress: false,
        digests: false,
    };
    pub const FRAMES: Self = Self {
        compress: true,
        ..Self::PLAIN
    };
    pub const DIGESTS: Self = Self {
        digests: true,
        ..Self::PLAIN
    };

    /// With frames as small as they can be.
    pub fn options(self) -> WriteOptions {
        let mut options = WriteOptions::default();
        options.checksum = self.checksum;
        options.compress = self.compress.then_some(3);
        options.digests = self.digests;
        options.frame_bytes = SMALL_FRAMES;
        options
    }
}

pub fn backend(backend: Backend) -> OpenOptions {
    let mut options = OpenOptions::default();
    options.backend = backend;
    options
}

/// A file made by hand. `tensors` is the inside of that JSON object.
pub fn file(tensors: &str, flags: u32, blob: &[u8]) -> Vec<u8> {
    let json = format!(r#"{{"format":"deathtensors","format_version":1,"tensors":{{{tensors}}}}}"#);
    let mut out = b"DTLEGION".to_vec();
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&(json.len() as u64).to_le_bytes());
    out.extend_from_slice(json.as_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend_from_slice(blob);
    if flags & FOOTER != 0 {
        let footer = sha256(&out[24..]);
        out.extend_from_slice(&footer);
    }
    out
}

/// The entry of a tensor of bytes at that span.
pub fn entry(name: &str, start: usize, end: usize) -> String {
    format!(
        r#""{name}":{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#,
        end - start
    )
}

/// One frame as a streaming compressor makes it: without its content's size, with
/// a checksum if asked for.
pub fn streamed(data: &[u8], checksum: bool) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(checksum).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// One frame that says how long its content is.
pub fn sized(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deathtensors::Zstd.encode(data, 3, &mut out).unwrap();
    out
}

/// A seek table of frames' stored and data lengths, put together by hand.
pub fn seek_table(frames: &[(usize, usize)]) -> Vec<u8> {
    let mut out = 0x184d_2a5e_u32.to_le_bytes().to_vec();
    out.extend_from_slice(&(frames.len() as u32 * 8 + 9).to_le_bytes());
    for (stored, data) in frames {
        out.extend_from_slice(&(*stored as u32).to_le_bytes());
        out.extend_from_slice(&(*data as u32).to_le_bytes());
    }
    out.extend_from_slice(&(frames.len() as u32).to_le_bytes());
    out.push(0);
    out.extend_from_slice(&0x8f92_eab1_u32.to_le_bytes());
    out
}

/// Frames and their table.
pub fn blob_of(frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let lengths: Vec<_> = frames.iter().map(|(f, data)| (f.len(), *data)).collect();
    let mut out: Vec<u8> = frames.iter().flat_map(|(f, _)| f.clone()).collect();
    out.extend_from_slice(&seek_table(&lengths));
    out
}

/// Changes a bit of the byte at that offset, in place.
pub fn flip(path: &Path, at: u64) {
    let mut options = fs::File::options();
    let mut file = options.read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0x10]).unwrap();
}

/// The names in a folder, sorted.
pub fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Counts, and cancels once enough was done.
#[derive(Debug)]
pub struct Count {
    pub total: Option<u64>,
    pub done: u64,
    most: u64,
}

pub fn until(most: u64) -> Count {
    Count {
        total: None,
        done: 0,
        most,
    }
}

impl Progress for Count {
    fn start(&mut self, total: u64) {
        assert_eq!(self.total.replace(total), None, "started twice");
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        if self.done > self.most {
            return Err(Error::new(Code::IoInterrupted, "enough"));
        }
        Ok(())
    }
}

/// The error that was expected.
#[track_caller]
pub fn refused<T>(result: Result<T, impl Into<Error>>, code: Code) -> Error {
    match result.map_err(Into::into) {
        Ok(_) => panic!("not refused with {code:?}"),
        Err(error) => {
            assert_eq!(error.code(), code, "{error}");
            error
        }
    }
}

/// A file in memory that is brought by ranges.
#[derive(Debug)]
struct Brought(Vec<u8>);

impl RangeSource for Brought {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Piece>> {
        let piece = |r: &Range<u64>| self.0[r.start as usize..r.end as usize].to_vec();
        Ok(ranges.iter().map(|r| Box::new(piece(r)) as Piece).collect())
    }
}

/// How a file's bytes are reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Mapped,
    Positioned,
    Brought,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Mapped, Self::Positioned, Self::Brought];

    /// Opens a file so; the backend of the options is the way's.
    pub fn open(self, path: &Path, mut options: OpenOptions) -> Result<TensorFile> {
        options.backend = match self {
            Self::Positioned => Backend::Pread,
            _ => Backend::Mmap,
        };
        match self {
            Self::Brought => {
                let source = Arc::new(Brought(fs::read(path).unwrap()));
                TensorFile::open_ranges(path, source, &options)
            }
            _ => TensorFile::open_with(path, &options),
        }
    }
}
