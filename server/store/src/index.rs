//! Secondary indexes: value, then primary key, so that an index is read in order of both.
//!
//! An entry's key is the encoded value followed by the primary key; a key of more than 400 bytes
//! is replaced there by its hash and kept whole in the entry's data, to stay within what LMDB
//! allows. The data's first byte tells whether the value is one of several in an array.

use heed::RwTxn;

use crate::computed::Computed;
use crate::encode::{self, TAG_HASHED};
use crate::env::Handle;
use crate::error::Error;
use crate::key::Key;
use crate::scalar;
use crate::schema::Kind;

/// Bytes of a primary key that an index key holds whole.
const KEY_BYTES_MAX: usize = 400;
/// In an entry's data: the value is an element of an array.
const ELEMENT: u8 = 1;

/// The index of one attribute.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) attribute: String,
    pub(crate) kind: Kind,
    pub(crate) entries: Handle,
    /// Distinguishes this index from one that was built for the attribute before.
    pub(crate) generation: u64,
    /// Whether every record is in it, so that queries may use it.
    pub(crate) ready: bool,
    pub(crate) made: Option<Made>,
}

/// How an index has the values of an attribute that is not stored.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) computed: Computed,
    /// By primary key the value that is indexed: an expression may give another one later.
    pub(crate) values: Handle,
}

impl Index {
    /// Changes the entries of a record from the old to the new of what is indexed of it. Of an
    /// attribute that is not stored the old value is known here.
    pub(crate) fn follow(
        &self,
        txn: &mut RwTxn<'_>,
        key: &Key,
        [old, new]: [Option<&[u8]>; 2],
    ) -> Result<(), Error> {
        let Some(Made { values, .. }) = &self.made else {
            return self.update(txn, key, old, new);
        };
        let old = values.get(txn, key.as_bytes())?.map(<[u8]>::to_vec);
        match new {
            Some(new) => values.put(txn, key.as_bytes(), new)?,
            None => drop(values.delete(txn, key.as_bytes())?),
        }
        self.update(txn, key, old.as_deref(), new)
    }

    /// What is indexed of a record with this body, if that is not stored in it.
    ///
    /// # Errors
    /// [`Error::Unevaluated`].
    pub(crate) fn evaluate(&self, body: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(Made { computed, .. }) = &self.made else { return Ok(None) };
        let value = computed.value(body);
        let attribute = || self.attribute.clone();
        value.map(Some).map_err(|reason| Error::Unevaluated { attribute: attribute(), reason })
    }

    /// Removes all entries.
    pub(crate) fn clear(&self, txn: &mut RwTxn<'_>) -> Result<(), Error> {
        if let Some(made) = &self.made {
            made.values.clear(txn)?;
        }
        Ok(self.entries.clear(txn)?)
    }

    /// Changes the entries of a record from those of its old value to those of its new one.
    fn update(
        &self,
        txn: &mut RwTxn<'_>,
        key: &Key,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<(), Error> {
        if old == new {
            return Ok(());
        }
        let (removed, added) =
            (scalar::encodings(old, &self.kind), scalar::encodings(new, &self.kind));
        let was_array = old.is_some_and(is_array);
        let data_changed = was_array != new.is_some_and(is_array);
        let tail = tail(key);
        for value in removed.iter().filter(|value| added.binary_search(value).is_err()) {
            self.entries.delete(txn, &[value, tail.as_slice()].concat())?;
        }
        for value in &added {
            if data_changed || removed.binary_search(value).is_err() {
                self.put(txn, value, &tail, key, new)?;
            }
        }
        Ok(())
    }

    fn put(
        &self,
        txn: &mut RwTxn<'_>,
        value: &[u8],
        tail: &[u8],
        key: &Key,
        raw: Option<&[u8]>,
    ) -> Result<(), Error> {
        let flag = if raw.is_some_and(is_array) { ELEMENT } else { 0 };
        let mut data = Vec::new();
        if tail.first() == Some(&TAG_HASHED) {
            data.push(flag);
            data.extend_from_slice(key.as_bytes());
        } else if flag != 0 {
            data.push(flag);
        }
        Ok(self.entries.put(txn, &[value, tail].concat(), &data)?)
    }
}

fn is_array(raw: &[u8]) -> bool {
    raw.first() == Some(&b'[')
}

/// What stands for a primary key in an index key.
pub(crate) fn tail(key: &Key) -> Vec<u8> {
    let bytes = key.as_bytes();
    if bytes.len() <= KEY_BYTES_MAX {
        return bytes.to_vec();
    }
    let mut tail = vec![TAG_HASHED];
    tail.extend_from_slice(blake3::hash(bytes).as_bytes());
    tail
}

/// An index entry taken apart.
pub(crate) struct Entry<'t> {
    /// The encoded value.
    pub(crate) value: &'t [u8],
    /// The primary key's bytes.
    pub(crate) key: &'t [u8],
    /// Whether the record may have more entries.
    pub(crate) is_element: bool,
}

impl<'t> Entry<'t> {
    pub(crate) fn read(key: &'t [u8], data: &'t [u8]) -> Result<Entry<'t>, Error> {
        let damaged = || Error::Damaged { what: String::from("an index entry cannot be read") };
        let length = encode::value_length(key).ok_or_else(damaged)?;
        let (value, tail) = key.split_at(length);
        let (flag, whole) =
            data.split_first().map_or((0, &data[..0]), |(flag, rest)| (*flag, rest));
        let key = if tail.first() == Some(&TAG_HASHED) { whole } else { tail };
        if key.is_empty() {
            return Err(damaged());
        }
        Ok(Entry { value, key, is_element: flag & ELEMENT != 0 })
    }
}
