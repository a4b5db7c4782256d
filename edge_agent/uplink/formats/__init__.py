"""Pure encoders into forms that others read. Inside, compact nouns; a canonical form is made here, at the door."""
