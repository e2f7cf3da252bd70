//! Models in several files: an index, and shards beside it (spec, "Shards").

use crate::error::{Error, Result};
use crate::file::TensorFile;
use crate::identity::Identity;
use crate::options::OpenOptions;
use crate::writer::{Sealed, TensorWriter, origins};
use deathtensors_core::digest::Digest;
use deathtensors_core::shards::{self, Shard, ShardIndex};
use deathtensors_core::{CANONICAL_EXTENSION, Code, LEGACY_EXTENSION, TensorSpec, WriteOptions};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A shard index and its shards, each opened when it is first needed.
#[derive(Debug)]
pub struct ShardedFile {
    path: PathBuf,
    index: ShardIndex,
    metadata: Vec<(String, String)>,
    root: Option<Digest>,
    options: OpenOptions,
    verify: bool,
    shards: Vec<OnceLock<Arc<TensorFile>>>,
    opening: Mutex<()>,
    opener: Opener,
    /// Which file the index was, where there is one.
    identity: Option<Identity>,
}

/// Opens the shard of that name with those options.
type OpenShard = dyn Fn(&str, &OpenOptions) -> Result<TensorFile> + Send + Sync;

/// How shards are found.
enum Opener {
    /// Beside the index.
    Beside,
    /// By somebody who knows where they are.
    By(Box<OpenShard>),
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Beside => "Beside",
            Self::By(_) => "By(..)",
        })
    }
}

impl ShardedFile {
    /// Opens an index. With `verify`, each shard's footer is checked when the
    /// shard is opened. With a root in the options, the index must have it, and
    /// pins every shard.
    ///
    /// # Errors
    /// Those of [`TensorFile::open_with`], and the `shards.*` codes.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions, verify: bool) -> Result<Self> {
        let file = TensorFile::open_with(path.as_ref(), options)?;
        Self::over(&file, options, verify, Opener::Beside)
    }

    /// The same for an index that is open already, whose shards `open_shard` finds by the
    /// names that the index has for them. It is called once for each shard, when
    /// something of it is first needed; what it opens must have been opened with the
    /// options that it is given.
    ///
    /// # Errors
    /// Those of [`ShardedFile::open`].
    pub fn with_opener(
        index: &TensorFile,
        options: &OpenOptions,
        verify: bool,
        open_shard: impl Fn(&str, &OpenOptions) -> Result<TensorFile> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::over(index, options, verify, Opener::By(Box::new(open_shard)))
    }

    fn over(
        file: &TensorFile,
        options: &OpenOptions,
        verify: bool,
        opener: Opener,
    ) -> Result<Self> {
        let path = file.path();
        if verify {
            file.verify_footer(&mut ())?;
        }
        let index = ShardIndex::parse(file.header(), &options.limits)
            .map_err(|e| Error::from(e).at(path))?;
        let metadata = ShardIndex::user_metadata(file.header());
        let metadata = metadata
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        Ok(Self {
            path: path.into(),
            metadata,
            root: file.header().root().copied(),
            options: options.clone(),
            verify,
            shards: (0..index.shards.len()).map(|_| OnceLock::new()).collect(),
            index,
            opening: Mutex::new(()),
            identity: match opener {
                Opener::Beside => {
                    let facts = file.source.file()?.metadata();
                    Some(Identity::of(
                        &facts.map_err(|e| Error::io("open", path, e))?,
                    ))
                }
                Opener::By(_) => None,
            },
            opener,
        })
    }

    /// The index's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the index says.
    pub fn index(&self) -> &ShardIndex {
        &self.index
    }

    /// The model's metadata, without the index's own keys.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The root digest that the index carries.
    pub fn root(&self) -> Option<&Digest> {
        self.root.as_ref()
    }

    /// The shards' paths.
    pub fn shard_paths(&self) -> Vec<PathBuf> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        self.index
            .shards
            .iter()
            .map(|shard| folder.join(&shard.path))
            .collect()
    }

    /// The place of the shard that holds a tensor.
    ///
    /// # Errors
    /// `not_found.tensor`.
    pub fn which(&self, name: &str) -> Result<usize> {
        self.index.find(name).ok_or_else(|| {
            let error =
                deathtensors_core::Error::new(Code::TensorNotFound, "no such tensor in any shard")
                    .tensor(name);
            Error::from(error).at(&self.path)
        })
    }

    /// The nth shard, opened if it was not yet.
    ///
    /// # Errors
    /// Those of [`TensorFile::open_with`], `shards.mismatch`, `integrity.footer`;
    /// `io.changed` when the index was replaced since it was opened.
    pub fn shard(&self, nth: usize) -> Result<Arc<TensorFile>> {
        let none = || Error::new(Code::UsageRange, format!("no shard {nth}")).at(&self.path);
        let slot = self.shards.get(nth).ok_or_else(none)?;
        if let Some(file) = slot.get() {
            return Ok(file.clone());
        }
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = slot.get() {
            return Ok(file.clone());
        }
        let path = self.shard_paths().into_iter().nth(nth).ok_or_else(none)?;
        let shard = self.index.shards.get(nth).ok_or_else(none)?;
        let mut options = self.options.clone();
        options.root = match (self.options.root, shard.root) {
            (Some(_), None) => {
                return Err(Error::new(
                    Code::IntegrityRoot,
                    "the index carries no root for this shard",
                )
                .at(&path));
            }
            (Some(_), root) => root,
            (None, _) => None,
        };
        let file = match &self.opener {
            Opener::Beside => {
                let opened = TensorFile::open_with(&path, &options);
                self.check_unchanged()?;
                opened?
            }
            Opener::By(open) => open(&shard.path, &options)?,
        };
        self.index
            .check_shard(nth, file.header())
            .map_err(|e| Error::from(e).at(&path))?;
        // The index says which content it means, whether or not all of it is to be
        // checked; comparing that costs no more than hashing the shard's header.
        if let Some(wanted) = &shard.root {
            let bytes = file.source.read(&file.catalogue().header_range())?;
            file.catalogue()
                .check_root(&bytes, Some(wanted))
                .map_err(|e| Error::from(e).at(&path))?;
        }
        if self.verify {
            let found = file.verify(&mut ())?;
            if let Some(error) = found.errors.into_iter().next() {
                return Err(error);
            }
        }
        Ok(slot.get_or_init(|| Arc::new(file)).clone())
    }

    /// Refuses when the index is no longer the file that was opened: then the shards may
    /// be another model's. Writers take the index away before they exchange shards, so
    /// what was opened while the index still stood there belongs to it.
    fn check_unchanged(&self) -> Result<()> {
        let now = std::fs::metadata(&self.path).ok();
        match self.identity {
            Some(was) if now.map(|facts| Identity::of(&facts)) != Some(was) => {
                Err(Error::new(
                    Code::IoChanged,
                    "the index was replaced or removed after it was opened, so its shards may be another model's",
                )
                .at(&self.path))
            }
            _ => Ok(()),
        }
    }

    /// The open shard that holds a tensor.
    ///
    /// # Errors
    /// Those of [`ShardedFile::which`] and [`ShardedFile::shard`].
    pub fn file(&self, name: &str) -> Result<Arc<TensorFile>> {
        self.shard(self.which(name)?)
    }
}

/// Writes a model into shards and an index. Nothing appears at any of the paths
/// before [`ShardedWriter::finish`], which puts the index in place last.
#[derive(Debug)]
pub struct ShardedWriter {
    path: PathBuf,
    specs: Vec<TensorSpec>,
    /// For each tensor, the first one whose bytes it shares: itself, unless tied.
    origins: Vec<usize>,
    metadata: BTreeMap<String, String>,
    options: WriteOptions,
    ranges: Vec<Range<usize>>,
    sealed: Vec<Sealed>,
}

impl ShardedWriter {
    /// Plans the shards: tensors stay in order, and a shard ends when the next
    /// tensor would take it beyond `max_shard_bytes`.
    ///
    /// # Errors
    /// `usage.option` for a limit of 0, `usage.duplicate_name`, `usage.value` for a name
    /// whose shards would be called as those of another model, and what
    /// [`deathtensors_core::Dtype::nbytes`] refuses.
    pub fn create(
        path: impl AsRef<Path>,
        specs: Vec<TensorSpec>,
        metadata: BTreeMap<String, String>,
        max_shard_bytes: u64,
        options: WriteOptions,
    ) -> Result<Self> {
        let path = path.as_ref();
        if max_shard_bytes == 0 {
            return Err(Error::new(
                Code::UsageOption,
                "max_shard_bytes must be positive",
            ));
        }
        if let Some(key) = metadata.keys().find(|key| shards::is_reserved_key(key)) {
            return Err(Error::new(
                Code::UsageValue,
                format!("the metadata key '{key}' is reserved for shards"),
            ));
        }
        // Planned as one file first, so that whatever is wrong is found before
        // anything is written.
        deathtensors_core::WritePlan::new(&specs, &metadata, &options, &Default::default())
            .map_err(|e| Error::from(e).at(path))?;
        let mut sizes = Vec::with_capacity(specs.len());
        for spec in &specs {
            sizes.push(
                spec.dtype
                    .nbytes(&spec.shape)
                    .map_err(|e| e.tensor(&spec.name))?,
            );
        }
        let ranges = shards::assign(&sizes, max_shard_bytes);
        let out = Self {
            path: path.into(),
            origins: origins(&specs),
            specs,
            metadata,
            options,
            ranges,
            sealed: Vec::new(),
        };
        out.check_names()?;
        Ok(out)
    }

    /// Which tensors go into which shard.
    pub fn ranges(&self) -> Vec<Range<usize>> {
        self.ranges.clone()
    }

    /// Length of all data that the shards want, in bytes, gaps not counted.
    pub fn data_bytes(&self) -> u64 {
        let nbytes = |spec: &TensorSpec| spec.dtype.nbytes(&spec.shape).ok();
        let stored = self.ranges.iter().flat_map(|range| {
            let specs = self.specs.get(range.clone()).unwrap_or_default();
            let untied = specs.iter().zip(self.ties(range.clone()));
            untied.filter_map(|(spec, tie)| tie.is_none().then_some(spec))
        });
        stored.filter_map(nbytes).sum()
    }

    /// For each tensor of a shard the one in the same shard that it is tied to: the
    /// first of those that share their bytes stores them.
    fn ties(&self, range: Range<usize>) -> Vec<Option<usize>> {
        let mut first: HashMap<usize, usize> = HashMap::new();
        let origins = self.origins.get(range).unwrap_or_default().iter();
        origins
            .enumerate()
            .map(|(local, &origin)| {
                let holder = *first.entry(origin).or_insert(local);
                (holder != local).then_some(holder)
            })
            .collect()
    }

    /// Starts the next shard. It wants the bytes of its tensors, the first of
    /// which has place 0; tensors tied across shards are stored once in each.
    ///
    /// # Errors
    /// Those of [`TensorWriter::create`].
    pub fn start(&self) -> Result<TensorWriter> {
        let nth = self.sealed.len();
        let range = self
            .ranges
            .get(nth)
            .cloned()
            .ok_or_else(|| Error::new(Code::UsageRange, "no shard is left"))?;
        let ties = self.ties(range.clone());
        let specs = self.specs.get(range).unwrap_or_default().iter();
        let specs: Vec<_> = specs
            .zip(ties)
            .map(|(spec, alias_of)| TensorSpec {
                alias_of,
                ..spec.clone()
            })
            .collect();
        let metadata = shards::shard_metadata(nth, self.ranges.len(), &self.metadata);
        TensorWriter::create(self.shard_path(nth), &specs, &metadata, &self.options)
    }

    /// Takes a shard that is complete.
    pub fn add(&mut self, shard: Sealed) {
        self.sealed.push(shard);
    }

    /// Puts all shards in place, then the index. Returns the shards' paths. Where shards
    /// replace others, there is no index meanwhile; where that fails, the old files are
    /// put back.
    ///
    /// # Errors
    /// `io.failed`; `usage.data_size` when a shard is missing.
    pub fn finish(self) -> Result<Vec<PathBuf>> {
        if self.sealed.len() != self.ranges.len() {
            return Err(Error::new(
                Code::UsageDataSize,
                "not every shard was written",
            ));
        }
        let paths: Vec<_> = (0..self.ranges.len())
            .map(|nth| self.shard_path(nth))
            .collect();
        let mut list = Vec::with_capacity(paths.len());
        for ((range, path), sealed) in self.ranges.iter().zip(&paths).zip(&self.sealed) {
            let specs = self.specs.get(range.clone()).unwrap_or_default();
            list.push(Shard {
                path: path
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned())
                    .unwrap_or_default(),
                tensors: specs.iter().map(|s| s.name.clone()).collect(),
                bytes: specs
                    .iter()
                    .filter_map(|s| s.dtype.nbytes(&s.shape).ok())
                    .sum(),
                root: sealed.root().copied(),
            });
        }
        let index = ShardIndex::new(list).map_err(|e| Error::from(e).at(&self.path))?;
        let mut options = self.options;
        options.compress = None;
        let metadata = index.metadata(&self.metadata);
        let index = TensorWriter::create(&self.path, &[], &metadata, &options)?.seal()?;
        Sealed::commit_together(self.sealed, index)?;
        Ok(paths)
    }

    fn shard_path(&self, nth: usize) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let (stem, extension) = split_extension(&name);
        let extension = match extension {
            "" => CANONICAL_EXTENSION,
            extension => extension,
        };
        self.path
            .with_file_name(shards::shard_name(stem, nth, self.ranges.len(), extension))
    }

    /// Refuses names that would be those of another model's shards: of names that are not
    /// Unicode, all that is not is one character in an index; and `m` and `m.deathtensors`
    /// call their shards the same.
    fn check_names(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(Code::UsageValue, message).at(&self.path));
        let Some(name) = self.path.file_name().and_then(|name| name.to_str()) else {
            return refuse(
                "the name of an index is not valid Unicode, and its shards are named after it"
                    .into(),
            );
        };
        let other = match split_extension(name) {
            (stem, CANONICAL_EXTENSION) => self.path.with_file_name(stem),
            (stem, "") => self
                .path
                .with_file_name(format!("{stem}{CANONICAL_EXTENSION}")),
            _ => return Ok(()),
        };
        let place = |path: &Path| path.canonicalize().ok();
        if place(&other).is_none() || place(&other) == place(&self.path) {
            return Ok(());
        }
        let Ok(file) = TensorFile::open(&other) else {
            return Ok(());
        };
        let Ok(index) = ShardIndex::parse(file.header(), &Default::default()) else {
            return Ok(());
        };
        let mine: HashSet<_> = (0..self.ranges.len()).map(|n| self.shard_path(n)).collect();
        let taken = |shard: &Shard| mine.contains(&self.path.with_file_name(&shard.path));
        match index.shards.iter().any(taken) {
            true => refuse(format!(
                "its shards would replace those of '{}'; choose another name",
                other.display()
            )),
            false => Ok(()),
        }
    }
}

/// What comes before an extension of ours, and the extension.
fn split_extension(name: &str) -> (&str, &str) {
    let lower = name.to_ascii_lowercase();
    let known = [CANONICAL_EXTENSION, LEGACY_EXTENSION];
    let found = known.iter().find(|extension| lower.ends_with(**extension));
    let at = name.len() - found.map_or(0, |extension| extension.len());
    name.split_at_checked(at).unwrap_or((name, ""))
}
