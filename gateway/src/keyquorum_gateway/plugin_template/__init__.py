"""The plugin that ``keyquorum plugins new`` writes: files ending in ``.tmpl``, in which @name@, @Class@ and others are replaced."""
