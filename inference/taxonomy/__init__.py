"""Categories, attribute schema, and the map from data sets' labels: files that a platform replaces."""

from inference.taxonomy.labels import LabelMap, load_label_map
from inference.taxonomy.schema import AttributeSchema, AttributeSpec, load_attributes
from inference.taxonomy.tree import Node, Taxonomy, TaxonomyError, load_taxonomy

__all__ = [
    "AttributeSchema",
    "AttributeSpec",
    "LabelMap",
    "Node",
    "Taxonomy",
    "TaxonomyError",
    "load_attributes",
    "load_label_map",
    "load_taxonomy",
]
