"""Copy-move forgery: two detectors behind one interface, and their fusion."""
