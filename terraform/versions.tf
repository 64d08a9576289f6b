terraform {
  # Tests use values mocked during plan, which came with 1.11.
  required_version = "~> 1.11.0"

  required_providers {
    yandex = {
      source  = "yandex-cloud/yandex"
      version = "0.150.0"
    }
  }

  # The rest (bucket, key) comes from a file: prod.s3.tfbackend.example.
  # The keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
  backend "s3" {
    endpoints = {
      s3 = "https://storage.yandexcloud.net"
    }
    region                      = "ru-central1"
    skip_region_validation      = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_s3_checksum            = true
  }
}

# Folder, cloud and credentials come from the environment: YC_FOLDER_ID,
# YC_CLOUD_ID and YC_TOKEN or YC_SERVICE_ACCOUNT_KEY_FILE.
provider "yandex" {
  zone = var.zone
}
