//! The topics of the metadata image, as groups see them.

use super::state::{Catalog, CatalogTopic};
use crate::metadata::Image;
use grower_protocol::ids::TopicName;

impl Catalog for Image {
    fn find(&self, name: &TopicName) -> Option<CatalogTopic> {
        self.topic(name).map(|topic| CatalogTopic { topic: topic.id, partitions: topic.partition_count() })
    }
}
