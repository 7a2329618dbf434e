package bundle

import "github.com/vzreconciler/vzreconciler/internal/images"

// Image is what a container is made from.
type Image = images.Image

// ImageConfig is what an image says about running it.
type ImageConfig = images.Config
