//! A file that is written apart and then takes its place as a whole.

use std::fmt;
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cap_std::fs::{Dir, File, OpenOptions};
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::disk::{blocking, e_tag, failure};

/// What the names of such files begin with. No object's name does, see [`is_reserved`].
const PREFIX: &str = ".upload-";

/// Whether a name in the tenant's directory is that of a file that is being written.
pub(super) fn is_reserved(name: &str) -> bool {
    name.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether a file may take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    Any,
}

/// Removed when dropped, unless it took its place.
pub(super) struct Staged {
    dir: Arc<Dir>,
    name: Option<String>,
    file: File,
}

impl Staged {
    pub(super) fn new(dir: &Arc<Dir>) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}", process::id());
            match dir.open_with(&name, OpenOptions::new().write(true).create_new(true)) {
                // Another program has the same number, in another container perhaps.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => (),
                opened => {
                    return Ok(Self {
                        dir: Arc::clone(dir),
                        name: Some(name),
                        file: opened?,
                    });
                }
            }
        }
    }

    pub(super) fn write(&mut self, payload: &PutPayload) -> io::Result<()> {
        payload
            .iter()
            .try_for_each(|bytes| self.file.write_all(bytes))
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its place, in directories that are made if need be.
    pub(super) fn publish(mut self, to: &FilePath, place: Place) -> io::Result<PutResult> {
        let e_tag = e_tag(&self.file.metadata()?);
        let name = self.name.take().unwrap_or_default();
        let published = with_parents(&self.dir, to, || match place {
            Place::Any => self.dir.rename(&name, &self.dir, to),
            Place::Free => self.dir.hard_link(&name, &self.dir, to),
        });
        if published.is_err() || place == Place::Free {
            self.name = Some(name);
        }
        published?;
        Ok(PutResult {
            e_tag: Some(e_tag),
            version: None,
            extensions: object_store::Extensions::default(),
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // There is nobody to tell, and nobody sees the file.
            let _ = self.dir.remove_file(name);
        }
    }
}

/// Runs `place`, and again with the directories in which `to` is, if they are missing.
pub(super) fn with_parents(
    dir: &Dir,
    to: &FilePath,
    place: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    match (place(), to.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            dir.create_dir_all(parent)?;
            place()
        }
        (done, _) => done,
    }
}

/// An upload in parts, which arrive in any order.
pub(super) struct Upload {
    staged: Arc<Mutex<Option<Staged>>>,
    location: Path,
    to: PathBuf,
    offset: u64,
}

impl Upload {
    pub(super) fn new(staged: Staged, location: Path, to: PathBuf) -> Self {
        Self {
            staged: Arc::new(Mutex::new(Some(staged))),
            location,
            to,
            offset: 0,
        }
    }

    fn take(&self) -> Option<Staged> {
        self.staged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

fn over() -> io::Error {
    io::Error::other("the upload was completed or aborted before")
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.offset;
        self.offset += data.content_length() as u64;
        let staged = Arc::clone(&self.staged);
        let location = self.location.clone();
        Box::pin(blocking(move || {
            let mut staged = staged.lock().unwrap_or_else(PoisonError::into_inner);
            staged
                .as_mut()
                .ok_or_else(over)
                .and_then(|staged| {
                    staged.file.seek(SeekFrom::Start(offset))?;
                    staged.write(&data)
                })
                .map_err(|error| failure(&location, error))
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (staged, to, location) = (self.take(), self.to.clone(), self.location.clone());
        blocking(move || {
            staged
                .ok_or_else(over)
                .and_then(|staged| staged.publish(&to, Place::Any))
                .map_err(|error| failure(&location, error))
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.take();
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.location)
    }
}
