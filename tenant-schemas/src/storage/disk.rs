//! A directory as a store of objects that nothing leads out of.
//!
//! `cap-std` opens everything relative to the directory, and makes sure that
//! neither `..` nor a symbolic link leads out of it. There is no moment between a
//! check and its use in which a link could be put into the way.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use cap_fs_ext::DirExt as _;
use cap_std::fs::{Dir, File, Metadata};
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _, iter, try_unfold};
use object_store::path::{Path, PathPart};
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, RenameTargetMode, Result,
};

use super::staged::{Place, Staged, Upload, is_reserved, with_parents};

/// As many files are deleted at a time.
const DELETIONS_AT_ONCE: usize = 10;

pub(super) struct Disk {
    dir: Arc<Dir>,
    /// What to tell people; nothing is opened by it.
    path: PathBuf,
}

impl Disk {
    /// The directory `name` in `root`, which is at `path` and is made if it is missing.
    pub(super) fn open(root: &Dir, path: &FilePath, name: &str) -> io::Result<Self> {
        match root.create_dir(name) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => (),
        }
        Ok(Self {
            dir: Arc::new(root.open_dir_nofollow(name)?),
            path: path.join(name),
        })
    }
}

/// Removes the directory `name` of `root` and all that is in it, if it is there.
pub(super) async fn remove(root: Arc<Dir>, name: String) -> Result<io::Result<()>> {
    blocking(move || {
        let mut tries = 0;
        Ok(loop {
            match not_a_link(&root, &name).and_then(|()| root.remove_dir_all(&name)) {
                // It may be a file in it that someone else has removed, or made, just now.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    if !root.try_exists(&name).unwrap_or(true) {
                        break Ok(());
                    }
                    tries += 1;
                    if tries == TRIES {
                        break Err(error);
                    }
                    std::thread::sleep(PAUSE);
                }
                removed => break removed,
            }
        })
    })
    .await
}

/// How often it is tried to remove a directory to which others still write, and what is between.
const TRIES: usize = 10;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Whether the directory `name` of `root` has something in it.
pub(super) async fn is_occupied(root: Arc<Dir>, name: String) -> Result<io::Result<bool>> {
    blocking(move || {
        Ok(match root.read_dir(&name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            entries => entries.map(|mut entries| entries.next().is_some()),
        })
    })
    .await
}

/// Renames a directory of `root`. An empty one may be in the way.
pub(super) async fn rename(root: Arc<Dir>, from: String, to: String) -> Result<io::Result<()>> {
    blocking(move || Ok(not_a_link(&root, &from).and_then(|()| root.rename(&from, &root, &to))))
        .await
}

fn not_a_link(root: &Dir, name: &str) -> io::Result<()> {
    if root.symlink_metadata(name)?.is_symlink() {
        return Err(io::Error::new(
            ErrorKind::NotADirectory,
            "a tenant's directory is no symbolic link: mount it instead",
        ));
    }
    Ok(())
}

/// Runs `work` where blocking is allowed, if there is a runtime that has such a place.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

/// What the operating system said, as `object_store` says it.
pub(super) fn failure(location: &Path, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NotFound {
            path,
            source: Box::new(error),
        },
        ErrorKind::AlreadyExists => Error::AlreadyExists {
            path,
            source: Box::new(error),
        },
        // That is what a link that leads out is, too.
        ErrorKind::PermissionDenied => Error::PermissionDenied {
            path,
            source: Box::new(error),
        },
        _ => Error::Generic {
            store: "TenantStore",
            source: Box::new(error),
        },
    }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: "a store on disk".to_owned(),
    }
}

/// The file of an object: the parts of its location are names, whatever they look like.
fn file_of(location: &Path) -> Result<PathBuf> {
    let first = location.parts().next();
    if first.is_some_and(|part| is_reserved(part.as_ref())) {
        let reserved = io::Error::new(
            ErrorKind::PermissionDenied,
            "names that begin with `.upload-` are those of files that are being written",
        );
        return Err(failure(location, reserved));
    }
    Ok(location
        .parts()
        .map(|part| part.as_ref().to_owned())
        .collect())
}

/// Changes whenever the file does, as web servers make it.
pub(super) fn e_tag(metadata: &Metadata) -> String {
    #[cfg(unix)]
    let inode = cap_std::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    let modified = modified(metadata).duration_since(SystemTime::UNIX_EPOCH);
    let micros = modified.unwrap_or_default().as_micros();
    format!("\"{inode:x}-{micros:x}-{:x}\"", metadata.len())
}

fn modified(metadata: &Metadata) -> SystemTime {
    metadata
        .modified()
        .map_or(SystemTime::UNIX_EPOCH, cap_std::time::SystemTime::into_std)
}

fn meta(location: Path, metadata: &Metadata) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: modified(metadata).into(),
        size: metadata.len(),
        e_tag: Some(e_tag(metadata)),
        version: None,
    }
}

/// Opens a file, and nothing that is none: a pipe would block, a device may do anything.
fn open(dir: &Dir, file: &FilePath) -> io::Result<(File, Metadata)> {
    let regular = |metadata: &Metadata| {
        if metadata.is_file() {
            Ok(())
        } else {
            Err(io::Error::new(ErrorKind::NotFound, "this is no file"))
        }
    };
    regular(&dir.metadata(file)?)?;
    let file = dir.open(file)?;
    let metadata = file.metadata()?;
    regular(&metadata)?;
    Ok((file, metadata))
}

/// The files and the directories of a directory. Links are neither.
fn read_dir(dir: &Dir, prefix: &Path) -> io::Result<(Vec<ObjectMeta>, Vec<Path>)> {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    let entries = if prefix.is_root() {
        dir.entries()
    } else {
        let path: PathBuf = prefix
            .parts()
            .map(|part| part.as_ref().to_owned())
            .collect();
        dir.read_dir(path)
    };
    let entries = match entries {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok((files, directories));
        }
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // What can't be the name of an object is none.
        let Some(part) = name.to_str().and_then(|name| PathPart::parse(name).ok()) else {
            continue;
        };
        if prefix.is_root() && is_reserved(part.as_ref()) {
            continue;
        }
        let location = prefix.clone().join(part);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            directories.push(location);
        } else if kind.is_file() {
            match entry.metadata() {
                Ok(metadata) => files.push(meta(location, &metadata)),
                // It was deleted meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
    }
    files.sort_by(|one, other| one.location.cmp(&other.location));
    directories.sort();
    Ok((files, directories))
}

#[async_trait]
impl ObjectStore for Disk {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let place = match opts.mode {
            PutMode::Overwrite => Place::Any,
            PutMode::Create => Place::Free,
            PutMode::Update(_) => return Err(not_implemented("a conditional update")),
        };
        if !opts.attributes.is_empty() {
            return Err(not_implemented("an object with attributes"));
        }
        let (dir, file, location) = (Arc::clone(&self.dir), file_of(location)?, location.clone());
        blocking(move || {
            Staged::new(&dir)
                .and_then(|mut staged| {
                    staged.write(&payload)?;
                    staged.publish(&file, place)
                })
                .map_err(|error| failure(&location, error))
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return Err(not_implemented("an object with attributes"));
        }
        let (dir, file, location) = (Arc::clone(&self.dir), file_of(location)?, location.clone());
        blocking(move || match Staged::new(&dir) {
            Ok(staged) => Ok(Box::new(Upload::new(staged, location, file)) as _),
            Err(error) => Err(failure(&location, error)),
        })
        .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (dir, file, location) = (Arc::clone(&self.dir), file_of(location)?, location.clone());
        let path = self.path.join(&file);
        blocking(move || {
            let (opened, metadata) =
                open(&dir, &file).map_err(|error| failure(&location, error))?;
            let meta = meta(location, &metadata);
            options.check_preconditions(&meta)?;
            let range = match options.range {
                Some(range) => range.as_range(meta.size).map_err(|error| Error::Generic {
                    store: "TenantStore",
                    source: Box::new(error),
                })?,
                None => 0..meta.size,
            };
            Ok(GetResult {
                payload: GetResultPayload::File(opened.into_std(), path),
                meta,
                range,
                attributes: Attributes::default(),
                extensions: Extensions::default(),
            })
        })
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let dir = Arc::clone(&self.dir);
        locations
            .map(move |location| {
                let dir = Arc::clone(&dir);
                blocking(move || {
                    let location = location?;
                    let removed = dir.remove_file(file_of(&location)?);
                    removed.map_err(|error| failure(&location, error))?;
                    Ok(location)
                })
            })
            .buffered(DELETIONS_AT_ONCE)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let start = prefix.cloned().unwrap_or_default();
        try_unfold(
            (Arc::clone(&self.dir), vec![start]),
            |(dir, mut left)| async move {
                let Some(prefix) = left.pop() else {
                    return Ok(None);
                };
                blocking(move || {
                    let listed = read_dir(&dir, &prefix);
                    let (files, directories) = listed.map_err(|error| failure(&prefix, error))?;
                    left.extend(directories.into_iter().rev());
                    Ok(Some((iter(files.into_iter().map(Ok)), (dir, left))))
                })
                .await
            },
        )
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (dir, prefix) = (Arc::clone(&self.dir), prefix.cloned().unwrap_or_default());
        blocking(move || {
            let listed = read_dir(&dir, &prefix);
            let (objects, common_prefixes) = listed.map_err(|error| failure(&prefix, error))?;
            Ok(ListResult {
                common_prefixes,
                objects,
                extensions: Extensions::default(),
            })
        })
        .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let place = match options.mode {
            CopyMode::Overwrite => Place::Any,
            CopyMode::Create => Place::Free,
        };
        let (dir, source, file) = (Arc::clone(&self.dir), file_of(from)?, file_of(to)?);
        let (from, to) = (from.clone(), to.clone());
        blocking(move || {
            let (mut source, _) = open(&dir, &source).map_err(|error| failure(&from, error))?;
            Staged::new(&dir)
                .and_then(|mut staged| {
                    io::copy(&mut source, staged.file())?;
                    staged.publish(&file, place)
                })
                .map_err(|error| failure(&to, error))?;
            Ok(())
        })
        .await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (dir, source, file) = (Arc::clone(&self.dir), file_of(from)?, file_of(to)?);
        let (from, to) = (from.clone(), to.clone());
        blocking(move || {
            open(&dir, &source).map_err(|error| failure(&from, error))?;
            let renamed = match options.target_mode {
                RenameTargetMode::Overwrite => {
                    with_parents(&dir, &file, || dir.rename(&source, &dir, &file))
                }
                RenameTargetMode::Create => {
                    with_parents(&dir, &file, || dir.hard_link(&source, &dir, &file))
                        .and_then(|()| dir.remove_file(&source))
                }
            };
            renamed.map_err(|error| failure(&to, error))
        })
        .await
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory {}", self.path.display())
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
