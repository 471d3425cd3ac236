//! Properties (§2.2.2): one table says what each is, what it may be, and where it may stand.

use crate::basic::{Binary, Text};
use crate::encode::Sink;
use crate::error::Error;
use crate::place::Place;
use crate::read::Reader;
use crate::reason::Reason;
use crate::topic;
use bytes::Bytes;
use std::marker::PhantomData;

/// Properties of a packet, or of its will: in memory each takes many times the five bytes that it may have.
const PROPERTIES_MAX: usize = 1024;

/// A Variable Byte Integer as the value of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Varint(pub u32);

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A byte.
    Byte(u8),
    /// A Two Byte Integer.
    Two(u16),
    /// A Four Byte Integer.
    Four(u32),
    /// A Variable Byte Integer.
    Variable(Varint),
    /// A UTF-8 Encoded String.
    Text(Text),
    /// Binary Data.
    Binary(Binary),
    /// A UTF-8 String Pair: name and value.
    Pair((Text, Text)),
}

/// What a value must be, beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Any,
    /// 0 or 1.
    Flag,
    NotZero,
    /// Not zero, or the Topic Alias is invalid.
    Alias,
    /// A topic name.
    Topic,
}

/// A property by its name: its identifier and the type of its value.
#[derive(Debug)]
pub struct Key<T>(u8, PhantomData<T>);

impl<T> Key<T> {
    /// The identifier.
    pub(crate) const fn id(&self) -> u8 {
        self.0
    }
}

/// A row: what is known of a property.
struct Row {
    id: u8,
    shape: Shape,
    rule: Rule,
    places: Place,
    /// Where it may stand more than once.
    many: Place,
}

/// Declares the keys and the table.
macro_rules! properties {
    ($($(#[$doc:meta])* $key:ident: $type:ty = $id:literal, $rule:expr, $places:expr, $many:expr;)*) => {
        $($(#[$doc])* pub const $key: Key<$type> = Key($id, PhantomData);)*

        const TABLE: &[Row] = &[$(Row {
            id: $id,
            shape: <$type as Kind>::SHAPE,
            rule: $rule,
            places: $places,
            many: $many,
        }),*];
    };
}

const MESSAGE: Place = Place::PUBLISH.or(Place::WILL);
const LOGIN: Place = Place::CONNECT.or(Place::CONNACK);
const ANSWERS: Place = Place::CONNACK
    .or(Place::RECEIVED)
    .or(Place::RELEASED)
    .or(Place::SUBACK)
    .or(Place::UNSUBACK)
    .or(Place::DISCONNECT)
    .or(Place::AUTH);

properties! {
    /// Whether the payload is UTF-8.
    PAYLOAD_FORMAT: u8 = 0x01, Rule::Flag, MESSAGE, Place::NONE;
    /// For how many seconds a message is worth delivering.
    MESSAGE_EXPIRY: u32 = 0x02, Rule::Any, MESSAGE, Place::NONE;
    /// What the payload is.
    CONTENT_TYPE: Text = 0x03, Rule::Any, MESSAGE, Place::NONE;
    /// The topic for a response.
    RESPONSE_TOPIC: Text = 0x08, Rule::Topic, MESSAGE, Place::NONE;
    /// What tells to which request a response belongs.
    CORRELATION_DATA: Binary = 0x09, Rule::Any, MESSAGE, Place::NONE;
    /// The number by which a client knows its subscription.
    SUBSCRIPTION_ID: Varint = 0x0b, Rule::NotZero, Place::PUBLISH_OUT.or(Place::SUBSCRIBE), Place::PUBLISH_OUT;
    /// For how many seconds a session outlives its connection.
    SESSION_EXPIRY: u32 = 0x11, Rule::Any, LOGIN.or(Place::DISCONNECT_IN), Place::NONE;
    /// The identifier that the server gave to a client without one.
    ASSIGNED_CLIENT_ID: Text = 0x12, Rule::Any, Place::CONNACK, Place::NONE;
    /// The seconds that go for Keep Alive, whatever the client asked for.
    SERVER_KEEP_ALIVE: u16 = 0x13, Rule::Any, Place::CONNACK, Place::NONE;
    /// The name of an authentication method.
    AUTHENTICATION_METHOD: Text = 0x15, Rule::Any, LOGIN.or(Place::AUTH), Place::NONE;
    /// What the method has to say.
    AUTHENTICATION_DATA: Binary = 0x16, Rule::Any, LOGIN.or(Place::AUTH), Place::NONE;
    /// Whether Reason Strings and User Properties may be sent with any answer.
    REQUEST_PROBLEM_INFORMATION: u8 = 0x17, Rule::Flag, Place::CONNECT, Place::NONE;
    /// For how many seconds a will waits.
    WILL_DELAY: u32 = 0x18, Rule::Any, Place::WILL, Place::NONE;
    /// Whether the client asks for Response Information.
    REQUEST_RESPONSE_INFORMATION: u8 = 0x19, Rule::Flag, Place::CONNECT, Place::NONE;
    /// What response topics may be made of.
    RESPONSE_INFORMATION: Text = 0x1a, Rule::Any, Place::CONNACK, Place::NONE;
    /// Another server to use.
    SERVER_REFERENCE: Text = 0x1c, Rule::Any, Place::CONNACK.or(Place::DISCONNECT_OUT), Place::NONE;
    /// What went wrong, for people.
    REASON_STRING: Text = 0x1f, Rule::Any, ANSWERS, Place::NONE;
    /// How many messages above QoS 0 may be unanswered.
    RECEIVE_MAXIMUM: u16 = 0x21, Rule::NotZero, LOGIN, Place::NONE;
    /// The greatest Topic Alias that is taken.
    TOPIC_ALIAS_MAXIMUM: u16 = 0x22, Rule::Any, LOGIN, Place::NONE;
    /// A number in place of the topic's name.
    TOPIC_ALIAS: u16 = 0x23, Rule::Alias, Place::PUBLISH, Place::NONE;
    /// The greatest QoS that the server takes.
    MAXIMUM_QOS: u8 = 0x24, Rule::Flag, Place::CONNACK, Place::NONE;
    /// Whether the server retains.
    RETAIN_AVAILABLE: u8 = 0x25, Rule::Flag, Place::CONNACK, Place::NONE;
    /// A name and a value that mean something to the applications.
    USER_PROPERTY: (Text, Text) = 0x26, Rule::Any, Place::ALL, Place::ALL;
    /// The most bytes of a packet that is taken.
    MAXIMUM_PACKET_SIZE: u32 = 0x27, Rule::NotZero, LOGIN, Place::NONE;
    /// Whether the server takes wildcards.
    WILDCARD_AVAILABLE: u8 = 0x28, Rule::Flag, Place::CONNACK, Place::NONE;
    /// Whether the server takes Subscription Identifiers.
    SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29, Rule::Flag, Place::CONNACK, Place::NONE;
    /// Whether the server takes shared subscriptions.
    SHARED_AVAILABLE: u8 = 0x2a, Rule::Flag, Place::CONNACK, Place::NONE;
}

/// The type of a property's value (§2.2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A byte.
    Byte,
    /// A Two Byte Integer.
    Two,
    /// A Four Byte Integer.
    Four,
    /// A Variable Byte Integer.
    Variable,
    /// A UTF-8 Encoded String.
    Text,
    /// Binary Data.
    Binary,
    /// A UTF-8 String Pair.
    Pair,
}

/// A Rust type that a property's value can be.
pub trait Kind: Sized {
    /// What it is on the wire.
    const SHAPE: Shape;
    /// The value, if it is of this type.
    fn get(value: &Value) -> Option<&Self>;
    /// A value that holds this.
    fn value(self) -> Value;
}

macro_rules! kind {
    ($type:ty, $variant:ident) => {
        impl Kind for $type {
            const SHAPE: Shape = Shape::$variant;

            fn get(value: &Value) -> Option<&Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }

            fn value(self) -> Value {
                Value::$variant(self)
            }
        }
    };
}

kind!(u8, Byte);
kind!(u16, Two);
kind!(u32, Four);
kind!(Varint, Variable);
kind!(Text, Text);
kind!(Binary, Binary);
kind!((Text, Text), Pair);

/// The properties of a packet, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(u8, Value)>);

impl Properties {
    /// The value of a property that stands once at most.
    #[must_use]
    pub fn get<T: Kind>(&self, key: &Key<T>) -> Option<&T> {
        self.all(key).next()
    }

    /// The values of a property, in their order.
    pub fn all<'a, T: Kind + 'a>(&'a self, key: &Key<T>) -> impl Iterator<Item = &'a T> {
        let id = key.0;
        self.0.iter().filter(move |(known, _)| *known == id).filter_map(|(_, value)| T::get(value))
    }

    /// Adds a property at the end.
    pub fn push<T: Kind>(&mut self, key: &Key<T>, value: T) {
        self.0.push((key.0, value.value()));
    }

    /// The same with one more property.
    #[must_use]
    pub fn with<T: Kind>(mut self, key: &Key<T>, value: T) -> Self {
        self.push(key, value);
        self
    }

    /// Adds those of another packet.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Without the values of a property.
    pub fn remove<T>(&mut self, key: &Key<T>) {
        self.0.retain(|(id, _)| *id != key.0);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without what may be left out when it does not fit, or was not asked for: Reason String and User Properties
    /// (MQTT-3.1.2-29).
    #[must_use]
    pub fn without_explanations(&self) -> Self {
        let mut rest = self.clone();
        rest.remove(&REASON_STRING);
        rest.remove(&USER_PROPERTY);
        rest
    }

    /// The properties at `place`, with their length in front.
    pub(crate) fn read(reader: &mut Reader, place: Place) -> Result<Self, Error> {
        let len = reader.varint()?;
        // on every platform that holds packets of this size
        let bytes = reader.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        Self::parse(bytes, place)
    }

    /// The properties of a packet whose end may come first: none then (§3.4.2.2.1).
    pub(crate) fn read_to_end(reader: &mut Reader, place: Place) -> Result<Self, Error> {
        if reader.is_empty() {
            return Ok(Self::default());
        }
        let properties = Self::read(reader, place)?;
        reader.end()?;
        Ok(properties)
    }

    /// The properties that these bytes are, without a length.
    ///
    /// # Errors
    /// When they break a rule, may not stand at `place`, or are more than are taken.
    pub fn parse(bytes: Bytes, place: Place) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let mut found = Vec::new();
        let mut seen = 0_u64;
        while !reader.is_empty() {
            let id = reader.varint()?;
            let row = TABLE.iter().find(|row| u32::from(row.id) == id);
            let row = row.ok_or(Error::malformed("a property is not known"))?;
            if !row.places.meets(place) {
                return Err(Error::malformed("a property may not stand in this packet"));
            }
            // identifiers are below 64
            let bit = 1 << (row.id & 63);
            if seen & bit != 0 && !row.many.meets(place) {
                return Err(Error::protocol("a property stands twice"));
            }
            seen |= bit;
            if found.len() == PROPERTIES_MAX {
                let what = "there are too many properties";
                return Err(Error { reason: Reason::QuotaExceeded, what });
            }
            let value = row.shape.read(&mut reader)?;
            row.rule.check(&value)?;
            found.push((row.id, value));
        }
        let [method, data] = [&AUTHENTICATION_METHOD.0, &AUTHENTICATION_DATA.0];
        if seen & (1 << data) != 0 && seen & (1 << method) == 0 {
            return Err(Error::protocol("authentication data have no method"));
        }
        Ok(Self(found))
    }

    /// Writes them with their length in front.
    pub(crate) fn write<S: Sink>(&self, sink: &mut S) {
        let mut len = crate::encode::Length::default();
        self.write_bare(&mut len);
        sink.varint(len.bytes());
        self.write_bare(sink);
    }

    /// Their bytes, without a length.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = bytes::BytesMut::new();
        self.write_bare(&mut out);
        out.freeze()
    }

    /// Writes them without a length.
    pub(crate) fn write_bare<S: Sink>(&self, sink: &mut S) {
        for (id, value) in &self.0 {
            sink.u8(*id);
            value.write(sink);
        }
    }
}

impl Shape {
    fn read(self, reader: &mut Reader) -> Result<Value, Error> {
        Ok(match self {
            Self::Byte => Value::Byte(reader.u8()?),
            Self::Two => Value::Two(reader.u16()?),
            Self::Four => Value::Four(reader.u32()?),
            Self::Variable => Value::Variable(Varint(reader.varint()?)),
            Self::Text => Value::Text(reader.text()?),
            Self::Binary => Value::Binary(reader.binary()?),
            Self::Pair => Value::Pair((reader.text()?, reader.text()?)),
        })
    }
}

impl Value {
    fn write<S: Sink>(&self, sink: &mut S) {
        match self {
            Self::Byte(value) => sink.u8(*value),
            Self::Two(value) => sink.u16(*value),
            Self::Four(value) => sink.u32(*value),
            Self::Variable(Varint(value)) => sink.varint(*value),
            Self::Text(text) => sink.field(text.as_bytes()),
            Self::Binary(data) => sink.field(data.as_bytes()),
            Self::Pair((name, value)) => {
                sink.field(name.as_bytes());
                sink.field(value.as_bytes());
            }
        }
    }

    fn number(&self) -> u32 {
        match self {
            Self::Byte(value) => u32::from(*value),
            Self::Two(value) => u32::from(*value),
            Self::Four(value) | Self::Variable(Varint(value)) => *value,
            Self::Text(_) | Self::Binary(_) | Self::Pair(_) => 0,
        }
    }
}

impl Rule {
    fn check(self, value: &Value) -> Result<(), Error> {
        let broken = match self {
            Self::Any => None,
            Self::Flag => {
                (value.number() > 1).then_some(Error::protocol("a property is neither 0 nor 1"))
            }
            Self::NotZero => (value.number() == 0).then_some(Error::protocol("a property is zero")),
            Self::Alias => (value.number() == 0).then_some(Error {
                reason: Reason::TopicAliasInvalid,
                what: "a topic alias is zero",
            }),
            Self::Topic => match value {
                Value::Text(text) => topic::check_name(text)
                    .err()
                    .map(|_| Error::protocol("a response topic is empty or has wildcards")),
                _ => None,
            },
        };
        broken.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
impl Properties {
    /// Those that may stand at `place`, each if it is chosen.
    pub(crate) fn thinned(mut self, place: Place, choice: &[bool]) -> Self {
        let mut place_of = choice.iter().copied().chain(std::iter::repeat(true));
        self.0.retain(|(id, _)| {
            let row = TABLE.iter().find(|row| row.id == *id);
            let is_chosen = place_of.next().unwrap_or(true);
            is_chosen && row.is_some_and(|row| row.places.meets(place))
        });
        // data without a method are refused
        if self.get(&AUTHENTICATION_METHOD).is_none() {
            self.remove(&AUTHENTICATION_DATA);
        }
        self
    }
}
