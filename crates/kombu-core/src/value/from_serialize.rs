//! The serializer whose output is a [`Value`].

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::error::{Error, ErrorKind, Result};
use crate::value::date::timestamp_seconds;
use crate::value::tagged::{TAGGED, TIMESTAMP, untag};
use crate::value::{Table, Value};

impl Value {
    /// The value that `data` serializes to; a `Value` gives itself.
    ///
    /// Enums have the form that they have in JSON: a unit variant is its name, others are a table
    /// with the name as its only key. Numbers of more than 64 bits become [`Value::Decimal`].
    /// Keys of maps that are numbers, truth values or null become texts, as in Python's JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`] if a key of a map is a list, a table or bytes, or if the `Serialize`
    /// implementation reports an error.
    ///
    /// ```
    /// use kombu_core::{Table, Value};
    /// let value = Value::from_serialize(&std::collections::HashMap::from([(7, "seven")]))?;
    /// assert_eq!(value, Value::Table(Table::new().with("7", "seven")));
    /// # Ok::<(), kombu_core::Error>(())
    /// ```
    pub fn from_serialize<T: Serialize + ?Sized>(data: &T) -> Result<Self> {
        data.serialize(ValueSerializer)
    }
}

struct ValueSerializer;

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = ListSerializer;
    type SerializeTuple = ListSerializer;
    type SerializeTupleStruct = ListSerializer;
    type SerializeTupleVariant = ListSerializer;
    type SerializeMap = TableSerializer;
    type SerializeStruct = TableSerializer;
    type SerializeStructVariant = TableSerializer;

    fn serialize_bool(self, truth: bool) -> Result<Value> {
        Ok(Value::Bool(truth))
    }

    fn serialize_i8(self, number: i8) -> Result<Value> {
        Ok(Value::from(number))
    }

    fn serialize_i16(self, number: i16) -> Result<Value> {
        Ok(Value::from(number))
    }

    fn serialize_i32(self, number: i32) -> Result<Value> {
        Ok(Value::from(number))
    }

    fn serialize_i64(self, number: i64) -> Result<Value> {
        Ok(Value::Int(number))
    }

    fn serialize_i128(self, number: i128) -> Result<Value> {
        Ok(Value::from_i128(number))
    }

    fn serialize_u8(self, number: u8) -> Result<Value> {
        Ok(Value::from(number))
    }

    fn serialize_u16(self, number: u16) -> Result<Value> {
        Ok(Value::from(number))
    }

    fn serialize_u32(self, number: u32) -> Result<Value> {
        Ok(Value::from(number))
    }

    fn serialize_u64(self, number: u64) -> Result<Value> {
        Ok(Value::from(number))
    }

    fn serialize_u128(self, number: u128) -> Result<Value> {
        Ok(Value::from_u128(number))
    }

    fn serialize_f32(self, number: f32) -> Result<Value> {
        Ok(Value::from(number))
    }

    fn serialize_f64(self, number: f64) -> Result<Value> {
        Ok(Value::Float(number))
    }

    fn serialize_char(self, letter: char) -> Result<Value> {
        Ok(Value::Text(letter.to_string()))
    }

    fn serialize_str(self, text: &str) -> Result<Value> {
        Ok(Value::from(text))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value> {
        Ok(Value::Bytes(bytes.to_vec().into()))
    }

    fn serialize_none(self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, inner: &T) -> Result<Value> {
        inner.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        inner: &T,
    ) -> Result<Value> {
        inner.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        inner: &T,
    ) -> Result<Value> {
        Ok(Value::Table(Table::new().with(variant, inner.serialize(self)?)))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListSerializer> {
        Ok(ListSerializer { variant: None, items: Vec::with_capacity(len.unwrap_or(0)) })
    }

    fn serialize_tuple(self, len: usize) -> Result<ListSerializer> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<ListSerializer> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<ListSerializer> {
        Ok(ListSerializer { variant: Some(variant), items: Vec::with_capacity(len) })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<TableSerializer> {
        Ok(TableSerializer { form: Form::Plain, key: None, table: Table::new() })
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<TableSerializer> {
        let form = match name {
            TAGGED => Form::Tagged,
            TIMESTAMP => Form::Timestamp,
            _ => Form::Plain,
        };
        Ok(TableSerializer { form, key: None, table: Table::new() })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<TableSerializer> {
        Ok(TableSerializer { form: Form::Variant(variant), key: None, table: Table::new() })
    }
}

struct ListSerializer {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl ListSerializer {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<()> {
        self.items.push(item.serialize(ValueSerializer)?);
        Ok(())
    }

    fn finish(self) -> Value {
        match self.variant {
            Some(variant) => Value::Table(Table::new().with(variant, self.items)),
            None => Value::List(self.items),
        }
    }
}

macro_rules! list_serializer {
    ($($trait:ident $method:ident),+) => {$(
        impl $trait for ListSerializer {
            type Ok = Value;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<()> {
                self.push(item)
            }

            fn end(self) -> Result<Value> {
                Ok(self.finish())
            }
        }
    )+};
}

list_serializer! {
    SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field
}

struct TableSerializer {
    form: Form,
    key: Option<String>,
    table: Table,
}

enum Form {
    Plain,
    Tagged,
    Timestamp,
    Variant(&'static str),
}

impl TableSerializer {
    fn finish(mut self) -> Result<Value> {
        match self.form {
            Form::Plain => Ok(Value::Table(self.table)),
            Form::Variant(variant) => Ok(Value::Table(Table::new().with(variant, self.table))),
            Form::Tagged | Form::Timestamp => {
                let Some((name, content)) = self.table.take_tagged()? else {
                    return Ok(Value::Table(self.table));
                };
                match (self.form, &content) {
                    (Form::Timestamp, Value::Text(text)) => timestamp_seconds(text)
                        .map(Value::Timestamp)
                        .ok_or_else(|| Error::new(ErrorKind::Encode, "a timestamp is broken")),
                    _ => untag(&name, content)
                        .map_err(|error| Error::new(ErrorKind::Encode, error.message().to_owned())),
                }
            }
        }
    }
}

impl SerializeMap for TableSerializer {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        let key = key.serialize(ValueSerializer)?.into_key();
        let key =
            key.ok_or_else(|| Error::new(ErrorKind::Encode, "a key of a map is not a text"))?;
        self.key = Some(key);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let value = value.serialize(ValueSerializer)?;
        let key = self.key.take().unwrap_or_default();
        self.table.insert(key, value);
        Ok(())
    }

    fn end(self) -> Result<Value> {
        self.finish()
    }
}

macro_rules! struct_serializer {
    ($($trait:ident),+) => {$(
        impl $trait for TableSerializer {
            type Ok = Value;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<()> {
                self.table.insert(name, value.serialize(ValueSerializer)?);
                Ok(())
            }

            fn end(self) -> Result<Value> {
                self.finish()
            }
        }
    )+};
}

struct_serializer! { SerializeStruct, SerializeStructVariant }
