//! Files of each tenant, on disk or in any store of the `object_store` crate.
//!
//! A [`Storage`] is where the files of all tenants are; a program has one. A
//! [`TenantStore`] is one tenant's part of it, and an
//! [`ObjectStore`], so that everything written for
//! `object_store` works on it, and sees and reaches nothing else:
//!
//! ```
//! use tenant_schemas::storage::Storage;
//! use tenant_schemas::storage::object_store::{self, ObjectStoreExt as _};
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//!
//! let storage = Storage::over(object_store::memory::InMemory::new())?; // or a bucket, or `on_disk`
//! let acme = storage.tenant(&"acme".parse()?)?;
//! let globex = storage.tenant(&"globex".parse()?)?;
//!
//! let logo = acme.location("logo.png")?; // refuses what leads out
//! acme.put(&logo, "a picture".into()).await?;
//! assert_eq!(acme.get(&logo).await?.bytes().await?, "a picture");
//! assert!(globex.get(&logo).await.is_err());
//! assert!(globex.location("../acme/logo.png").is_err());
//! # Ok(()) })
//! # .map_err(|error: Box<dyn std::error::Error>| error)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every tenant has a directory, named by
//! [`SchemaName::directory_name`](crate::SchemaName::directory_name). What the
//! tenants share is the public tenant's, or in another place: a bucket of its own,
//! or another prefix of [`Storage::over_prefix`].
//!
//! # What keeps tenants apart
//!
//! - A location with a part that is `..` or `.`, plain or percent-encoded however
//!   often, is refused by every operation, and so is the empty one.
//! - On disk, files are opened relative to the tenant's directory and the kernel
//!   is told not to leave it. A symbolic link that leads out is an error, whoever
//!   made it, and whenever; one within the directory works. Listings show files
//!   alone, no links. Hard links can't be told from files.
//! - `object_store`'s `LocalFileSystem` follows links anywhere, so [`Storage::over`]
//!   refuses it, within the wrappers of that crate too.
//!
//! # What outlives its tenant
//!
//! The directory has the name of the schema, which another tenant may be given
//! once it is free. Call [`Storage::remove_tenant`] after a tenant was deleted and
//! [`Storage::rename_tenant`] after it was renamed.

mod disk;
mod location;
mod staged;
mod tenant;

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use crate::name::SchemaName;

use self::disk::Disk;

pub use self::tenant::TenantStore;
/// The crate whose traits and types are used here, in the version that is used.
pub use object_store;

/// How many objects are copied at a time when a tenant is renamed.
const COPIES_AT_ONCE: usize = 8;

/// Why there is no store, or no location in one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The store would follow symbolic links out of a tenant's directory.
    #[error(
        "{store} follows symbolic links out of a tenant's directory: use `Storage::on_disk`, \
         which does not"
    )]
    #[non_exhaustive]
    FollowsLinks {
        /// The store.
        store: String,
    },

    /// A directory can't be used.
    #[error("the directory {} can't be used: it has to be there, writable, and no link", .path.display())]
    #[non_exhaustive]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },

    /// A location leads out of the tenant's directory, or may.
    #[error("location {location:?} is refused: {rule}")]
    #[non_exhaustive]
    Location {
        /// The location.
        location: String,
        /// The rule that it breaks, in words.
        rule: &'static str,
    },

    /// A tenant can't be renamed onto another's files.
    #[error(
        "schema {schema} has files already: remove them with `remove_tenant` first, but not if a \
         rename that stopped half-way put them there, as they may be the only copies"
    )]
    #[non_exhaustive]
    Occupied {
        /// The schema that was to be the new name.
        schema: SchemaName,
    },

    /// The files of a renamed tenant are at its new name, and some are at the old one still.
    #[error(
        "the files of schema {schema} are copied, but not all of them could be removed: \
         call `remove_tenant` for {schema}, not `rename_tenant` again"
    )]
    #[non_exhaustive]
    NotRemoved {
        /// The schema that was the old name.
        schema: SchemaName,
        /// What the store says.
        source: object_store::Error,
    },

    /// The store failed.
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

/// Where the files of all tenants are. Cheap to clone.
#[derive(Clone)]
pub struct Storage(Place);

#[derive(Clone)]
enum Place {
    Disk {
        root: Arc<Dir>,
        path: PathBuf,
    },
    Store {
        store: Arc<dyn ObjectStore>,
        prefix: Path,
    },
}

impl Storage {
    /// Files on disk, in a directory for each tenant below `root`.
    ///
    /// A file is replaced as a whole or not at all. Attributes of objects and
    /// conditional updates are not supported, as with `LocalFileSystem`. No
    /// tenant's directory may be a symbolic link: to have one elsewhere, mount it.
    ///
    /// ```
    /// use tenant_schemas::storage::Storage;
    ///
    /// # let root = tempfile::tempdir()?;
    /// # let root = root.path();
    /// let storage = Storage::on_disk(root)?;
    /// storage.tenant(&"acme".parse()?)?;
    /// assert!(root.join("acme").is_dir());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StorageError::Directory`] if there is no such directory.
    pub fn on_disk(root: impl AsRef<FilePath>) -> Result<Self, StorageError> {
        let path = root.as_ref().to_owned();
        match Dir::open_ambient_dir(&path, ambient_authority()) {
            Ok(root) => Ok(Self(Place::Disk {
                root: Arc::new(root),
                path,
            })),
            Err(source) => Err(StorageError::Directory { path, source }),
        }
    }

    /// Files in a store, below a prefix for each tenant.
    ///
    /// # Errors
    ///
    /// [`StorageError::FollowsLinks`] if it is `LocalFileSystem`, wrapped or not.
    pub fn over(store: impl ObjectStore) -> Result<Self, StorageError> {
        Self::over_prefix(store, Path::ROOT)
    }

    /// Files in a store, below a prefix for each tenant, which is itself below `prefix`.
    ///
    /// [`TenantStore::full_location`] has it in front; it can't know of one that a
    /// `PrefixStore` adds.
    ///
    /// ```
    /// # use tenant_schemas::storage::{Storage, object_store::memory::InMemory};
    /// let storage = Storage::over_prefix(InMemory::new(), "tenants")?;
    /// let acme = storage.tenant(&"acme".parse()?)?;
    /// let location = acme.full_location(&acme.location("logo.png")?)?;
    /// assert_eq!(location.as_ref(), "tenants/acme/logo.png");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Storage::over`].
    pub fn over_prefix(
        store: impl ObjectStore,
        prefix: impl Into<Path>,
    ) -> Result<Self, StorageError> {
        // The type alone does not say it: there may be wrappers around it.
        if format!("{store:?}").contains("LocalFileSystem {") {
            let store = store.to_string();
            return Err(StorageError::FollowsLinks { store });
        }
        Ok(Self(Place::Store {
            store: Arc::new(store),
            prefix: prefix.into(),
        }))
    }

    /// The files of the tenant who has this schema. On disk, makes its directory.
    ///
    /// # Errors
    ///
    /// [`StorageError::Directory`] if it can't be made, or is a link.
    pub fn tenant(&self, schema: &SchemaName) -> Result<TenantStore, StorageError> {
        let directory = schema.directory_name();
        Ok(match &self.0 {
            Place::Disk { root, path } => {
                let dir = Disk::open(root, path, &directory).map_err(|source| {
                    let path = path.join(&directory);
                    StorageError::Directory { path, source }
                })?;
                TenantStore::new(schema, Arc::new(dir), Path::ROOT, Path::from(directory))
            }
            Place::Store { store, prefix } => {
                let prefix = prefix.clone().join(directory);
                TenantStore::new(schema, Arc::clone(store), prefix.clone(), prefix)
            }
        })
    }

    /// Removes all files of the tenant who has this schema, if there are any.
    ///
    /// ```
    /// use tenant_schemas::storage::Storage;
    /// # use object_store::{ObjectStoreExt as _, memory::InMemory};
    /// # use tenant_schemas::storage::object_store;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    ///
    /// # let storage = Storage::over(InMemory::new())?;
    /// # let acme = "acme".parse()?;
    /// # let logo = storage.tenant(&acme)?.location("logo.png")?;
    /// # storage.tenant(&acme)?.put(&logo, "a picture".into()).await?;
    /// storage.remove_tenant(&acme).await?; // after the tenant was deleted
    /// assert!(storage.tenant(&acme)?.get(&logo).await.is_err());
    /// # Ok(()) })
    /// # .map_err(|error: Box<dyn std::error::Error>| error)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails, with some of them removed perhaps: call it again. If another program wrote a
    /// key that `object_store` has no location for, as one with `//` in it, each call fails with
    /// its name: remove that one with the tools of the store. The marker of a folder, a key that ends
    /// with `/`, has no location either: it stays and keeps no other from the name, but listings show
    /// its name to whoever gets that schema next. Remove those with the tools of the store too.
    pub async fn remove_tenant(&self, schema: &SchemaName) -> Result<(), StorageError> {
        if let Place::Disk { root, path } = &self.0 {
            let directory = schema.directory_name();
            let removed = disk::remove(Arc::clone(root), directory.clone()).await?;
            return removed.map_err(|source| {
                let path = path.join(directory);
                StorageError::Directory { path, source }
            });
        }
        Ok(self.tenant(schema)?.remove_all().await?)
    }

    /// Gives the files of schema `from` to schema `to`, as after a tenant was renamed.
    ///
    /// On disk that is one step. In a store each object is copied, and the old
    /// ones are removed once all are. Nothing may write to either meanwhile.
    ///
    /// ```
    /// use tenant_schemas::storage::Storage;
    /// # use object_store::{ObjectStoreExt as _, memory::InMemory};
    /// # use tenant_schemas::storage::object_store;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    ///
    /// # let storage = Storage::over(InMemory::new())?;
    /// # let (acme, initech) = ("acme".parse()?, "initech".parse()?);
    /// # let logo = storage.tenant(&acme)?.location("logo.png")?;
    /// # storage.tenant(&acme)?.put(&logo, "a picture".into()).await?;
    /// storage.rename_tenant(&acme, &initech).await?;
    /// assert!(storage.tenant(&acme)?.get(&logo).await.is_err());
    /// assert!(storage.tenant(&initech)?.get(&logo).await.is_ok());
    /// # Ok(()) })
    /// # .map_err(|error: Box<dyn std::error::Error>| error)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StorageError::Occupied`] if `to` has files. [`StorageError::NotRemoved`] if all is
    /// copied, and the old ones could not be removed: call `remove_tenant(from)`. Any other
    /// leaves everything where it was; a store may have some copies too: call `remove_tenant(to)`
    /// before the next try. If the program ends in the middle, look at both before you remove
    /// either.
    pub async fn rename_tenant(
        &self,
        from: &SchemaName,
        to: &SchemaName,
    ) -> Result<(), StorageError> {
        if from == to {
            return Ok(());
        }
        let occupied = || StorageError::Occupied { schema: to.clone() };
        if let Place::Disk { root, path } = &self.0 {
            let (old, new) = (from.directory_name(), to.directory_name());
            let path = path.join(&new);
            let failed = |source| StorageError::Directory { path, source };
            // Asked first: where there is nothing to move, nothing would be in the way.
            let is_occupied = disk::is_occupied(Arc::clone(root), new.clone()).await?;
            match is_occupied {
                Ok(true) => return Err(occupied()),
                Ok(false) => {}
                Err(source) => return Err(failed(source)),
            }
            return match disk::rename(Arc::clone(root), old, new).await? {
                Err(source) => match source.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists => {
                        Err(occupied())
                    }
                    _ => Err(failed(source)),
                },
                Ok(()) => Ok(()),
            };
        }
        let (old, new) = (self.tenant(from)?, self.tenant(to)?);
        if !new.is_empty().await? {
            return Err(occupied());
        }
        let Place::Store { store, .. } = &self.0 else {
            return Ok(());
        };
        old.all()
            .try_for_each_concurrent(COPIES_AT_ONCE, |meta| {
                let (old, new) = (&old, &new);
                async move {
                    let copy = old.location_in(new, &meta.location)?;
                    match store.copy(&meta.location, &copy).await {
                        // The marker of a folder.
                        Err(object_store::Error::NotFound { .. }) if meta.size == 0 => Ok(()),
                        copied => copied,
                    }
                }
            })
            .await?;
        old.remove_all()
            .await
            .map_err(|source| StorageError::NotRemoved {
                schema: from.clone(),
                source,
            })
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Disk { path, .. } => write!(f, "Storage({})", path.display()),
            // What a store in memory holds is not to be in a log.
            Place::Store { store, .. } => write!(f, "Storage({store})"),
        }
    }
}
