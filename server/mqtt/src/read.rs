//! Reads the data types of §1.5 off a packet's bytes.

use crate::basic::{Binary, PacketId, Text};
use crate::error::Error;
use bytes::{Buf, Bytes};

/// What has not been read of a packet, or of a part of it.
#[derive(Debug)]
pub(crate) struct Reader(Bytes);

impl Reader {
    /// Reads these bytes.
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    /// The next `len` bytes, shared.
    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        if self.0.len() < len {
            return Err(Error::malformed("the packet ends within a field"));
        }
        Ok(self.0.split_to(len))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    /// A Two Byte Integer (§1.5.2).
    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.need(2)?;
        Ok(self.0.get_u16())
    }

    /// A Four Byte Integer (§1.5.3).
    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    /// A Variable Byte Integer (§1.5.5).
    pub(crate) fn varint(&mut self) -> Result<u32, Error> {
        match varint(&self.0)? {
            Some((value, len)) => {
                self.0.advance(len);
                Ok(value)
            }
            None => Err(Error::malformed("the packet ends within a field")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<Text, Error> {
        let len = self.u16()?;
        Text::new(self.take(usize::from(len))?)
    }

    pub(crate) fn binary(&mut self) -> Result<Binary, Error> {
        let len = self.u16()?;
        Binary::new(self.take(usize::from(len))?)
    }

    pub(crate) fn packet_id(&mut self) -> Result<PacketId, Error> {
        let what = "a packet identifier is zero";
        PacketId::new(self.u16()?).ok_or(Error::malformed(what))
    }

    /// That nothing is left.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Error::malformed("the packet goes on after its last field"))
        }
    }

    fn need(&self, len: usize) -> Result<(), Error> {
        if self.0.len() < len {
            return Err(Error::malformed("the packet ends within a field"));
        }
        Ok(())
    }
}

/// The Variable Byte Integer at the head of `bytes`, with its length; nothing when its end has not come.
///
/// # Errors
/// A malformed packet when it has a fifth byte, or is not in its shortest form (MQTT-1.5.5-1).
pub(crate) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Error> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if *byte == 0 && place > 0 {
                return Err(Error::malformed(
                    "a variable byte integer is not in its shortest form",
                ));
            }
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(Error::malformed("a variable byte integer has more than four bytes"));
    }
    Ok(None)
}
