"""Who reads which partition, and from where: group and static ownership."""
