"""What setup.py does: finding a libvpopmail, looking at what it has, linking the module with it."""
